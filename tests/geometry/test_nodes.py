import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.nodes import interpolation_weights, node_members, node_seeds

weights_of = jax.jit(interpolation_weights)


def cloud(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, 3)).astype(np.float32)


def test_seeds_are_spread_from_the_outermost_point_whatever_the_order():
    points = cloud(40)
    seeds = jax.jit(functools.partial(node_seeds, count=8))
    found = np.asarray(seeds(points))
    chosen = [int(np.linalg.norm(points - points.mean(0), axis=1).argmax())]
    while len(chosen) < 8:
        chosen.append(int(cdist(points, points[chosen]).min(1).argmax()))
    assert found.tolist() == chosen
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(points[order][np.asarray(seeds(points[order]))], points[found])


def test_members_are_the_points_nearest_to_64_distinct_seeds():
    points = cloud(200)
    found = np.asarray(jax.jit(functools.partial(node_members, count=64, members=32))(points))
    seeds = np.asarray(jax.jit(functools.partial(node_seeds, count=64))(points))
    assert len(set(seeds.tolist())) == 64
    expected = np.argsort(cdist(points[seeds], points), axis=1)[:, :32]
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))
    assert all(seed in row for seed, row in zip(seeds, found.tolist(), strict=True))


def test_a_small_cloud_is_all_nodes_and_all_members():
    found = jax.jit(lambda p: node_members(p, 64, 32))(cloud(5))
    np.testing.assert_array_equal(np.sort(found), np.tile(np.arange(5), (5, 1)))


def test_a_point_takes_from_its_three_nearest_nodes_by_inverse_squared_distance():
    points, nodes = cloud(30), cloud(9, seed=1)
    found = np.asarray(weights_of(points, nodes))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert ((found > 0).sum(axis=1) == 3).all()
    squared = cdist(points, nodes, "sqeuclidean")
    nearest = np.argsort(squared, axis=1)[:, :3]
    expected = np.zeros_like(squared)
    np.put_along_axis(expected, nearest, 1 / np.take_along_axis(squared, nearest, axis=1), axis=1)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_point_at_a_node_takes_its_features():
    nodes, features = cloud(9), np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(weights_of(nodes, nodes)) @ features, features, atol=1e-6)


@pytest.mark.parametrize("nodes", [np.zeros((4, 3)), np.full((2, 3), 1e-7)], ids=["coincident", "two"])
def test_coincident_points_have_finite_weights_and_gradients(nodes):
    def total(points, nodes):
        return jnp.sum(interpolation_weights(points, nodes) * jnp.arange(len(nodes))[None, :])

    value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(jnp.zeros((6, 3)), jnp.asarray(nodes))
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
