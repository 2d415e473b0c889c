import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.distance_field import nearest_distance, spacing, sparsest_spacing


def ball(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 3)).astype(np.float32)


def sphere(n):
    points = np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


sparsest = jax.jit(sparsest_spacing, static_argnames=("neighbors", "count"))
spacings = jax.jit(spacing, static_argnames="neighbors")


def line():
    """32 points, 0.05 apart."""
    return jnp.zeros((32, 3)).at[:, 0].set(0.05 * (jnp.arange(32) - 16))


def test_the_nearest_distance_equals_scipys_and_is_exactly_zero_on_a_point():
    points, queries = ball(300), ball(200, seed=2)
    queries[:50] = points[:50]
    found = np.asarray(jax.jit(nearest_distance)(queries, points))
    expected = cdist(queries.astype(np.float64), points.astype(np.float64)).min(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (found[:50] == 0).all() and (found[50:] > 0).all()


@pytest.mark.parametrize("neighbors", [1, 3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 3.0])  # 3: neighbors beyond a distance of sqrt 2
def test_spacing_equals_scipys(scale, neighbors):
    points = scale * ball(32)
    squared = np.sort(cdist(points.astype(np.float64), points.astype(np.float64), "sqeuclidean"), axis=1)
    expected = np.sqrt(squared[:, 1 : neighbors + 1].mean(axis=1))
    np.testing.assert_allclose(spacings(points, neighbors=neighbors), expected, rtol=1e-5)


def test_spacing_on_a_line_and_of_its_sparsest_part():
    found = np.asarray(spacings(line(), neighbors=3))
    np.testing.assert_allclose(found[1:-1], 0.0707107, rtol=1e-5)
    np.testing.assert_allclose(found[[0, -1]], 0.1080123, rtol=1e-5)
    np.testing.assert_allclose(sparsest(line()), 0.0744409, rtol=1e-5)
    np.testing.assert_allclose(sparsest(line(), count=2), 0.1080123, rtol=1e-5)
    np.testing.assert_allclose(sparsest(line(), count=100), found.mean(), rtol=1e-5)  # all 32


def test_a_quarter_of_the_points_of_a_surface_is_twice_as_sparse():
    dense = sphere(2048)
    assert 1.6 < float(sparsest(dense[:512]) / sparsest(dense)) < 2.2


def test_copies_are_neighbors_at_no_distance():
    assert (spacings(jnp.full((32, 3), 0.3), neighbors=3) == 0).all()
    pairs = jnp.repeat(2.0 * jnp.arange(16), 2)[:, None] * jnp.array([[1.0, 0, 0]])
    expected = np.full(32, np.sqrt((0 + 4 + 4) / 3))  # a copy, and two at a distance of 2
    np.testing.assert_allclose(spacings(pairs, neighbors=3), expected, rtol=1e-6)


def test_order_does_not_matter_and_a_batch_equals_its_clouds():
    points, queries = jnp.stack([ball(32), sphere(32)]), jnp.asarray(ball(20, seed=2))
    shuffled = points[:, np.random.default_rng(0).permutation(32)]
    of_each = jax.jit(jax.vmap(lambda p: (nearest_distance(queries, p), sparsest_spacing(p))))
    for i, (distance, coarsest) in enumerate(zip(*of_each(shuffled), strict=True)):
        np.testing.assert_allclose(distance, cdist(queries, points[i]).min(axis=1), rtol=1e-5)
        np.testing.assert_allclose(coarsest, sparsest(points[i]), rtol=1e-5)


@pytest.mark.parametrize("points", [np.zeros((40, 3), np.float32), ball(40)], ids=["one place", "ball"])
def test_no_gradient_passes(points):
    def total(queries, points):
        return jnp.sum(nearest_distance(queries, points)) + sparsest_spacing(points)

    for gradient in jax.jit(jax.grad(total, (0, 1)))(points[:5], points):
        assert (gradient == 0).all()


@pytest.mark.parametrize("neighbors", [0, 5])
def test_impossible_numbers_of_neighbors_are_refused(neighbors):
    with pytest.raises(ValueError, match=rf"spacing: {neighbors} neighbors of 5 points.*data\.points"):
        jax.eval_shape(functools.partial(spacing, neighbors=neighbors), jnp.zeros((5, 3)))
