import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.augment import jitter, point_cloud_mixup, rotate, subsample

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
        taken = np.asarray(subsample(jax.random.key(3), CLOUD, count, method))
        assert taken.shape == (count, 3) and len(np.unique(taken, axis=0)) == count
        assert {tuple(p) for p in taken} <= {tuple(p) for p in np.asarray(CLOUD)}
    with pytest.raises(ValueError, match=r"config.data.points = 51, but the clouds have 50"):
        subsample(jax.random.key(3), CLOUD, 51, method)


def test_fps_spreads_better_than_chance():
    def gap(method):
        taken = np.asarray(subsample(jax.random.key(4), CLOUD, 12, method))
        distance = np.linalg.norm(taken[:, None] - taken[None], axis=-1)
        return distance[~np.eye(12, dtype=bool)].min()

    assert gap("fps") > gap("uniform")


@pytest.mark.parametrize("alpha", [1.0, 1e-3])
def test_mixup_takes_the_share_from_the_cloud_and_the_rest_from_its_partner(alpha):
    batch, n = 5, 30
    points = jnp.arange(batch)[:, None, None] * 10.0 + jax.random.uniform(jax.random.key(0), (batch, n, 3))
    for seed in range(4):
        mixed, partner, share = point_cloud_mixup(jax.random.key(seed), points, alpha)
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
    mixed, _, share = next(
        m
        for m in (point_cloud_mixup(jax.random.key(s), points, 1e-3) for s in range(20))
        if round(20 * float(m[2])) == 20
    )
    assert share > 0.97
    for a, b in zip(np.asarray(mixed), np.asarray(points), strict=True):
        np.testing.assert_array_equal(np.unique(a, axis=0), np.unique(b, axis=0))
