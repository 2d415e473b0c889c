import numpy as np
import pytest
import scipy.stats

from smdsb_jax.datasets.scan import Scanner, simulate_scan, visible

CLEAR = Scanner(second_view=0, noise=0, cut=0, holes=0, floor=0)


def sphere(n=2000, seed=0):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_of_a_sphere_the_cap_towards_the_eye_is_seen():
    points, eye = sphere(), np.array([0.0, 0.0, 3.0])
    seen = np.zeros(len(points), bool)
    seen[visible(points, eye)] = True
    cosine = points[:, 2]
    assert seen[cosine > 0.45].mean() > 0.99  # the horizon of distance 3 is at cosine 1/3
    assert not seen[cosine < 0.0].any()


def test_a_point_behind_a_wall_is_hidden_and_one_before_it_is_not():
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 40)), -1).reshape(-1, 2)
    wall = np.column_stack([np.zeros(len(grid)), grid])
    points = np.concatenate([wall, [[0.5, 0, 0], [-0.5, 0, 0]]])
    seen = visible(points, np.array([3.0, 0.0, 0.0]))
    assert len(wall) in seen and len(wall) + 1 not in seen
    assert np.isin(np.flatnonzero(np.abs(grid).max(axis=1) < 0.6), seen).mean() > 0.95


def test_what_has_no_hull_is_seen_whole():
    line = np.column_stack([np.linspace(-1, 1, 9), np.zeros((9, 2))])
    for points in (line, line[:2]):
        np.testing.assert_array_equal(visible(points, np.array([3.0, 0.0, 0.0])), np.arange(len(points)))


def test_a_clear_scan_is_a_part_of_the_cloud_and_the_same_draws_give_the_same():
    points = sphere()
    scan = simulate_scan(points, np.random.default_rng(0), CLEAR)
    assert 0.2 * len(points) < len(scan) < 0.6 * len(points)
    rows = {tuple(p) for p in points}
    assert all(tuple(p) in rows for p in scan)
    np.testing.assert_array_equal(scan, simulate_scan(points, np.random.default_rng(0), CLEAR))
    # the camera is above the horizon, from anywhere around
    centers = np.array([simulate_scan(points, np.random.default_rng(s), CLEAR).mean(0) for s in range(60)])
    assert (centers[:, 2] > 0).all()
    angles = np.arctan2(centers[:, 1], centers[:, 0])
    assert scipy.stats.kstest(angles, scipy.stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01


def test_noise_grows_with_the_distance_from_the_camera():
    points = sphere(20_000)
    clear, noisy = (
        simulate_scan(points, np.random.default_rng(3), CLEAR._replace(noise=n)) for n in (0, 0.01)
    )
    error, towards = noisy - clear, clear.mean(0) / np.linalg.norm(clear.mean(0))
    near = clear @ towards > np.median(clear @ towards)
    assert error[near].std() < error[~near].std()
    # cameras are 2 to 3 from the center, the seen points up to 1 nearer
    assert 0.01 < error.std() < 0.03 and abs(error.mean()) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_cut_holes_and_floor_take_and_add_what_they_say(seed):
    points = sphere(4000)
    scan = lambda **of: simulate_scan(points, np.random.default_rng(seed), CLEAR._replace(**of))  # noqa: E731
    whole = len(scan())
    assert 0.75 * whole - 2 <= len(scan(cut=1.0)) <= 0.92 * whole + 2
    floored = scan(floor=1.0)
    added = len(floored) - whole
    assert 0.05 * whole - 1 <= added <= 0.2 * whole + 1
    assert np.abs(floored[whole:, 2] - points[:, 2].min()).max() < 0.05
    assert len(scan(second_view=1.0)) > 1.5 * whole
    counts = [
        len(simulate_scan(points, np.random.default_rng(s), CLEAR._replace(holes=2))) for s in range(20)
    ]
    assert min(counts) >= 128 and len(set(counts)) > 10
    tiny = points[:200]
    for s in range(10):  # a hole that would leave too few is none
        assert len(simulate_scan(tiny, np.random.default_rng(s), CLEAR._replace(holes=2, fewest=200))) > 30
