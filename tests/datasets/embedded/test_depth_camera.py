import numpy as np
import pytest

from smdsb_jax.datasets.embedded import depth_camera as camera


def ball(n=160_000, radius=0.4, center=(0, 0, 0.4)):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals * radius + center, normals


def placed(points, normals, base=0.0):
    return camera.Placed(points, normals, base, np.eye(3))


def test_rays_meet_a_box_where_geometry_says():
    eye = np.array([0.0, 0, 0])
    rays = np.array([[1, 0, 0], [-1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]], float)
    distance, normal = camera._ray_box(eye, rays, np.array([2.0, -1, -1]), np.array([3.0, 9, 1]))
    np.testing.assert_allclose(distance, [2, np.inf, 2 / 0.6, np.inf])
    np.testing.assert_array_equal(normal[0], [1, 0, 0])


def test_a_view_sees_the_near_side_at_its_distance():
    points, normals = ball()
    eye, center = np.array([0.0, -2, 0.4]), np.array([0.0, 0, 0.4])
    cloud, _ = camera.view(eye, center, placed(points, normals), [], np.random.default_rng(1))
    assert len(cloud) > 500
    np.testing.assert_allclose(np.linalg.norm(cloud - center, axis=1), 0.4, atol=0.06)
    assert np.abs(np.linalg.norm(cloud - center, axis=1) - 0.4).mean() < 0.015
    # nothing beyond the horizon of the ball: y - 0 > -r^2 / d, with room for noise
    assert cloud[:, 1].max() < 0.0


def test_a_wall_behind_is_seen_around_the_object_and_hidden_by_it():
    points, normals = ball()
    eye, center = np.array([0.0, -2, 0.4]), np.array([0.0, 0, 0.4])
    wall = (np.array([-9.0, 0.5, -9]), np.array([9.0, 0.6, 9]))
    cloud, sample = camera.view(eye, center, placed(points, normals), [wall], np.random.default_rng(1))
    on_wall = cloud[cloud[:, 1] > 0.3]
    assert len(on_wall) > 100
    np.testing.assert_array_equal(sample == -1, cloud[:, 1] > 0.3)
    on_ball = sample >= 0
    assert np.linalg.norm(cloud[on_ball] - points[sample[on_ball]], axis=1).max() < 0.06
    # the ball's silhouette on the wall: radius 0.4 at 2 m, cast to 2.5 m
    shadow = 2.5 * np.tan(np.arcsin(0.4 / 2))
    assert np.linalg.norm(on_wall[:, [0, 2]] - [0, 0.4], axis=1).min() > 0.9 * shadow


def test_noise_grows_with_distance():
    spread = []
    for far in (1.0, 4.0):
        points, normals = ball()
        eye = np.array([0.0, -far, 0.4])
        target = np.array([0.0, 0, 0.4])
        cloud, _ = camera.view(eye, target, placed(points, normals), [], np.random.default_rng(2))
        spread.append(np.std(np.linalg.norm(cloud - target, axis=1)))
    assert spread[1] > 3 * spread[0]


@pytest.mark.parametrize(("height", "elevation", "base"), [(1.0, 0.0, (0, 0)), (0.3, 0.0, (0.4, 0.75))])
def test_objects_stand_on_the_floor_small_ones_on_a_support(height, elevation, base):
    points, normals = ball(n=500, radius=height / 2, center=(3, 1, height / 2))
    for seed in range(5):
        result = camera.place(points, normals, elevation, np.random.default_rng(seed))
        assert base[0] <= result.base <= base[1]
        assert result.points[:, 2].min() == pytest.approx(result.base, abs=1e-9)
        np.testing.assert_allclose(result.turn @ result.turn.T, np.eye(3), atol=1e-12)


def test_hanging_objects_hang_at_their_height_below_the_ceiling():
    points, normals = ball(n=500, radius=0.3, center=(0, 0, 0.3))
    result = camera.place(points, normals, 1.5, np.random.default_rng(0))
    assert 1.3 < result.base <= 1.5 and result.points[:, 2].max() < 2.2 + 1e-9


def test_surroundings_do_not_cut_into_the_object():
    points, normals = ball()
    kinds = set()
    for seed in range(40):
        solids, walled = camera.surroundings(placed(points, normals), 0.0, np.random.default_rng(seed))
        assert solids[0][1][2] == 0  # the floor
        kinds.add((walled, len(solids)))
        if walled:
            assert solids[1][0][1] >= points[:, 1].max()
        if len(solids) == 2 + walled:  # a neighbor overlaps by 5 % at most
            low, high = solids[-1]
            assert low[0] > points[:, 0].max() - 0.05 or high[0] < points[:, 0].min() + 0.05
    assert kinds == {(False, 1), (False, 2), (True, 2), (True, 3)}


def test_crop_keeps_the_object_or_cuts_one_side():
    points, _ = ball(n=5000)
    lost = []  # of the width, left, right, front and back, in units of the size
    for seed in range(100):
        cloud = camera.crop(points, points, 0.0, np.random.default_rng(seed))
        low, high = cloud.min(0) - points.min(0), points.max(0) - cloud.max(0)
        lost.append(np.array([*low[:2], *high[:2]]) / 0.8)
    cut = np.array(lost) > 0.02
    assert set(cut.sum(1)) == {0, 1} and cut.any(0).all()
    assert 0.3 < cut.any(1).mean() < 0.5
    assert np.max(lost) < 0.26
    far = np.concatenate([points, [[0, 0, 5.0]]])
    assert camera.crop(far, points, 0.0, np.random.default_rng(0))[:, 2].max() < 1


def test_a_scan_is_partial_in_the_objects_own_axes_and_repeats():
    points, normals = ball()
    a, b = (camera.scan(points, normals, 0.0, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert len(a) > 200 and np.isfinite(a).all()
