import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage

from smdsb_jax.augment import (
    distort_elastically,
    follow,
    jitter,
    point_cloud_mixup,
    remove_half_space,
    rotate,
    scale,
    smooth_field,
    subsample,
)

CLOUD = jax.random.normal(jax.random.key(0), (50, 3))


def test_rotation_about_z_keeps_height_and_radius():
    turned = rotate(jax.random.key(1), CLOUD, "z")
    np.testing.assert_array_equal(turned[:, 2], CLOUD[:, 2])
    np.testing.assert_allclose(np.hypot(*turned[:, :2].T), np.hypot(*CLOUD[:, :2].T), rtol=1e-5)
    assert np.abs(turned - CLOUD).max() > 0.1
    np.testing.assert_array_equal(rotate(jax.random.key(1), CLOUD, "x")[:, 0], CLOUD[:, 0])
    assert rotate(jax.random.key(1), CLOUD, "none") is CLOUD


@pytest.mark.parametrize("axis", ["x", "z"])
def test_rotations_are_proper(axis):
    matrix = rotate(jax.random.key(2), jnp.eye(3), axis)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-6)


def test_jitter_is_a_clipped_normal():
    noise = jitter(jax.random.key(0), jnp.zeros((100_000, 3)), 0.01, 0.02)
    assert np.abs(noise).max() <= 0.02
    assert np.std(noise) == pytest.approx(0.00959, abs=1e-4)  # of a normal clipped at 2 σ


@pytest.mark.parametrize("method", ["fps", "uniform", "first"])
def test_subsample_takes_distinct_stored_points(method):
    for count in (20, 50):
        taken, rows = map(np.asarray, subsample(jax.random.key(3), CLOUD, count, method))
        np.testing.assert_array_equal(taken, CLOUD[rows])
        assert taken.shape == (count, 3) and len(np.unique(taken, axis=0)) == count
        assert {tuple(p) for p in taken} <= {tuple(p) for p in np.asarray(CLOUD)}
    with pytest.raises(ValueError, match=r"config.data.points = 51, but the clouds have 50"):
        subsample(jax.random.key(3), CLOUD, 51, method)


def test_fps_spreads_better_than_chance():
    def gap(method):
        taken = np.asarray(subsample(jax.random.key(4), CLOUD, 12, method).points)
        distance = np.linalg.norm(taken[:, None] - taken[None], axis=-1)
        return distance[~np.eye(12, dtype=bool)].min()

    assert gap("fps") > gap("uniform")


@pytest.mark.parametrize("alpha", [1.0, 1e-3])
def test_mixup_takes_the_share_from_the_cloud_and_the_rest_from_its_partner(alpha):
    batch, n = 5, 30
    points = jnp.arange(batch)[:, None, None] * 10.0 + jax.random.uniform(jax.random.key(0), (batch, n, 3))
    for seed in range(4):
        mixed, partner, share, rows = point_cloud_mixup(jax.random.key(seed), points, alpha)
        both = np.concatenate([points, points[partner]], axis=1)  # labels of points follow by the same rows
        np.testing.assert_array_equal(mixed, np.take_along_axis(both, np.asarray(rows)[:, :, None], axis=1))
        assert sorted(np.asarray(partner).tolist()) == list(range(batch)) and 0 <= share <= 1
        own = round(float(share) * n)
        owner = np.floor(np.asarray(mixed)[:, :, 0] / 10).astype(int)
        for i in range(batch):
            assert (owner[i] == i).sum() >= own
            if partner[i] != i:
                assert (owner[i] == i).sum() == own and (owner[i] == partner[i]).sum() == n - own
            assert len(np.unique(np.asarray(mixed[i]), axis=0)) == n or partner[i] == i


def test_a_share_of_one_is_the_cloud_itself():
    points = jax.random.normal(jax.random.key(0), (3, 20, 3))
    mixed, _, share, _ = next(
        m
        for m in (point_cloud_mixup(jax.random.key(s), points, 1e-3) for s in range(20))
        if round(20 * float(m[2])) == 20
    )
    assert share > 0.97
    for a, b in zip(np.asarray(mixed), np.asarray(points), strict=True):
        np.testing.assert_array_equal(np.unique(a, axis=0), np.unique(b, axis=0))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_labels_of_points_follow_a_mixture(monkeypatch, share):
    batch, n = 3, 11
    points = jax.random.normal(jax.random.key(0), (batch, n, 3))
    label = jnp.arange(batch * n).reshape(batch, n)  # says which point it belongs to
    monkeypatch.setattr(jax.random, "beta", lambda key, a, b, dtype: jnp.asarray(share, dtype))
    mixed = point_cloud_mixup(jax.random.key(1), points, 1.0)
    both = jnp.concatenate([label, label[mixed.partner]], axis=1)
    found = np.asarray(follow(both, mixed.rows))
    np.testing.assert_array_equal(np.asarray(points).reshape(-1, 3)[found], mixed.points)
    own, kept = np.asarray(mixed.rows) < n, round(share * n)
    assert (own.sum(axis=1) == kept).all() and ((~own).sum(axis=1) == n - kept).all()
    np.testing.assert_array_equal(
        found // n, np.where(own, np.arange(batch)[:, None], mixed.partner[:, None])
    )
    if share == 1:  # the cloud itself, in another order
        np.testing.assert_array_equal(np.sort(found, axis=1), label)


def test_a_half_space_is_removed():
    cloud = jax.random.normal(jax.random.key(3), (2048, 3))
    cut, rows = remove_half_space(jax.random.key(0), cloud, 0.3, 1024)
    np.testing.assert_array_equal(cut, cloud[rows])
    assert cut.shape == (1433, 3)  # 70 %, strictly above the 30th percentile
    kept = {tuple(p) for p in np.asarray(cut)}
    is_kept = np.array([tuple(p) in kept for p in np.asarray(cloud)])
    assert is_kept.sum() == 1433
    # a plane separates what stays from what goes: least squares finds it
    inputs = np.column_stack([cloud, np.ones(2048)])
    normal = np.linalg.lstsq(inputs, np.where(is_kept, 1.0, -1.0), rcond=None)[0][:3]
    height = np.asarray(cloud) @ normal / np.linalg.norm(normal)
    assert height[is_kept].min() > height[~is_kept].max() - 0.1
    other = remove_half_space(jax.random.key(1), cloud, 0.3, 1024).points
    assert not np.array_equal(other, cut)


def test_a_cut_cloud_repeats_points_where_too_few_are_left():
    cut = remove_half_space(jax.random.key(0), CLOUD, 0.5, 40).points
    assert cut.shape == (40, 3) and len({tuple(p) for p in np.asarray(cut)}) == 25
    whole, rows = remove_half_space(jax.random.key(0), CLOUD, 0.0, 40)
    assert whole is CLOUD and (rows == jnp.arange(50)).all()


def test_labels_of_points_follow_them_and_those_of_clouds_stay():
    rows = jnp.array([[2, 0], [1, 1]])
    of_points = jnp.array([[5, 6, 7], [8, 9, 4]])
    np.testing.assert_array_equal(follow(of_points, rows), [[7, 5], [9, 9]])
    of_clouds = jnp.array([1, 2])
    assert follow(of_clouds, rows) is of_clouds and follow(None, rows) is None


def test_scaling_keeps_the_shape():
    factors = [scale(jax.random.key(s), CLOUD, 0.7, 1.5) / CLOUD for s in range(200)]
    np.testing.assert_allclose(factors[0], float(factors[0][0, 0]), rtol=1e-5)
    found = np.array([float(f[0, 0]) for f in factors])
    assert found.min() > 0.699 and found.max() < 1.501 and np.ptp(found) > 0.7
    assert scale(jax.random.key(0), CLOUD, 1.0, 1.0) is CLOUD


@pytest.mark.parametrize("distance", [0.2, 0.8])
def test_the_smooth_field_equals_scipys(distance):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (60, 3)).astype(np.float32) * [1.0, 0.6, 0.3]
    nodes = int(2 / distance + 1e-6) + 3
    noise = rng.normal(size=(nodes, nodes, nodes, 3)).astype(np.float32)
    lowest = points.min(axis=0)
    used = (np.floor((points.max(axis=0) - lowest) / distance) + 3).astype(int)
    field = noise[: used[0], : used[1], : used[2]]
    for axis in (0, 1, 2, 0, 1, 2):
        field = scipy.ndimage.convolve1d(field, np.ones(3) / 3, axis=axis, mode="constant")
    axes = [low - distance + distance * np.arange(n) for low, n in zip(lowest, used, strict=True)]
    expected = scipy.interpolate.RegularGridInterpolator(axes, field, bounds_error=False, fill_value=0)(
        points
    )
    found = smooth_field(jnp.asarray(noise), jnp.asarray(points, jnp.float32), distance)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_elastic_distortion_is_smooth_and_as_likely_as_asked():
    points = jax.random.uniform(jax.random.key(5), (200, 3), minval=-0.57, maxval=0.57)
    distort = jax.jit(distort_elastically, static_argnums=2)
    moved = [distort(jax.random.key(s), points, 0.5) for s in range(100)]
    share = np.mean([not np.array_equal(m, points) for m in moved])
    assert 0.35 < share < 0.65
    near = jnp.concatenate([points[:1], points[:1] + 1e-3])
    both = distort(jax.random.key(0), jnp.concatenate([near, points]), 1.0)
    assert jnp.linalg.norm(both[0] - both[1]) < 0.01 and float(jnp.abs(both[2:] - points).max()) > 0.02
    assert distort_elastically(jax.random.key(0), points, 0.0) is points
