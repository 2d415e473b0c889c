import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.edge_conv import EdgeConv, edge_moments, neighbor_max, neighbor_max_and_sum, neighbor_rows
from smdsb_jax.encoders.tnet import EdgeBlock
from smdsb_jax.geometry import knn
from smdsb_jax.layers import BatchNorm, leaky_relu, moments, torch_uniform
from tests.random_variables import random_variables


def edge_features(x, k):
    """[x_j - x_i, x_i] of one cloud's points, [n, k, 2c]: the formula as published."""
    neighbors = x[knn(x, k)]
    center = jnp.broadcast_to(x[:, None, :], neighbors.shape)
    return jnp.concatenate([neighbors - center, center], axis=-1)


class PlainEdgeConv(nn.Module):
    """The published formula, with the parameters of the library's."""

    features: int
    k: int
    pool: bool = True

    @nn.compact
    def __call__(self, x, *, train):
        edges = jax.vmap(functools.partial(edge_features, k=self.k))(x)
        y = edges @ self.param("kernel", torch_uniform, (edges.shape[-1], self.features))
        y = leaky_relu(BatchNorm(self.features, name="norm")(y, train=train), 0.2)
        return jnp.max(y, axis=-2) if self.pool else y


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def start(module, x):
    """Variables with norms of both signs."""
    variables = random_variables(module, x)
    scale = np.linspace(-1, 1.5, module.features, dtype=x.dtype)
    variables["params"]["norm"]["scale"] = jnp.asarray(scale)
    return variables


def everything(module, variables, x, train):
    """Output, running statistics, and the gradients of a weighted sum by parameters and points."""

    def loss(params, x):
        y, updated = module.apply({**variables, "params": params}, x, train=train, mutable=["batch_stats"])
        weight = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        return jnp.sum(weight * y), (y, updated)

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x)


def test_order_of_edge_features():
    edges = edge_features(jnp.array([[0.0, 0, 0], [1, 2, 3]]), 2)
    np.testing.assert_array_equal(edges[0, 1], [1, 2, 3, 0, 0, 0])
    np.testing.assert_array_equal(edges[1, 1], [-1, -2, -3, 1, 2, 3])


# 300 points: two blocks; k = 6 of 6: all points are neighbors
@pytest.mark.parametrize(("n", "k", "train"), [(300, 5, True), (300, 5, False), (6, 6, True)])
def test_equals_the_plain_formula(n, k, train):
    with jax.enable_x64(True):
        x = jnp.asarray(cloud(2, n, 4))
        variables = start(EdgeConv(7, k), x)
        ours, plain = (everything(m, variables, x, train) for m in (EdgeConv(7, k), PlainEdgeConv(7, k)))
        chex.assert_trees_all_close(ours, plain, rtol=1e-10, atol=1e-10)
        chex.assert_type(jax.tree.leaves(ours), np.float64)
        assert set(np.sign(variables["params"]["norm"]["scale"])) >= {-1, 1}


def test_block_of_all_edges_equals_the_plain_formula():
    with jax.enable_x64(True):
        x = jnp.asarray(cloud(2, 20, 3))
        variables = start(EdgeBlock(5, 4), x)
        ours, plain = (
            everything(m, variables, x, True) for m in (EdgeBlock(5, 4), PlainEdgeConv(5, 4, False))
        )
        chex.assert_trees_all_close(ours, plain, rtol=1e-10, atol=1e-10)


def test_moments_of_edges_without_the_edges():
    with jax.enable_x64(True):
        a, b = jnp.asarray(cloud(2, 9, 3)), jnp.asarray(cloud(2, 9, 3, seed=1)) + 5
        neighbors = jax.vmap(functools.partial(knn, k=4))(jnp.asarray(cloud(2, 9, 3, seed=2)))
        rows = jax.vmap(neighbor_rows)(b, neighbors)
        chex.assert_trees_all_close(
            edge_moments(a, b, rows.sum(2), neighbors), moments(a[:, :, None, :] + rows), rtol=1e-12
        )


def test_the_gradient_of_equal_maxima_goes_to_one():
    b, neighbors = jnp.array([[2.0], [5], [5]]), jnp.array([[0, 1, 2], [2, 1, 0], [0, 0, 0]])
    gradient = jax.grad(lambda b: neighbor_max(b, neighbors).sum())(b)
    np.testing.assert_array_equal(gradient[:, 0], [1, 2, 0])
    of_sum = jax.grad(lambda b: neighbor_max_and_sum(b, neighbors)[1].sum())(b)
    np.testing.assert_array_equal(of_sum[:, 0], [5, 2, 2])  # edges into each point


@pytest.mark.parametrize("train", [True, False])
def test_coincident_points_give_finite_gradients(train):
    x = jnp.full((2, 6, 3), 1234.5)  # far out, so that rounding is large against epsilon
    chex.assert_tree_all_finite(everything(EdgeConv(4, 3), start(EdgeConv(4, 3), x), x, train))


def test_points_that_are_nan_stay_inside_the_arrays():
    x = jnp.asarray(cloud(2, 6, 3), jnp.float32).at[0].set(jnp.nan)
    _, (y, _) = everything(EdgeConv(4, 3), start(EdgeConv(4, 3), x), x, False)
    assert np.all(np.isnan(y[0]))
    assert np.all(np.isfinite(y[1]))


TRAINING = {"max_and_sum_over_neighbors", "gradient_of_max_and_sum", "edges_into", "knn_search"}
INFERENCE = {"max_over_neighbors", "gradient_of_max", "knn_search"}
EDGES = {"rows_of_neighbors", "gradient_of_rows", "knn_search"}


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
@pytest.mark.parametrize(
    ("module", "train", "kernels"),
    [(EdgeConv(4, 3), True, TRAINING), (EdgeConv(4, 3), False, INFERENCE), (EdgeBlock(4, 3), True, EDGES)],
)
def test_which_kernels_run_and_that_accelerators_get_the_batched_ones(module, train, kernels, platform):
    x = jnp.ones((2, 8, 3))
    variables = start(module, x)

    def loss(params, x):
        y, _ = module.apply({**variables, "params": params}, x, train=train, mutable=["batch_stats"])
        return y.sum()

    traced = jax.jit(jax.grad(loss)).trace(variables["params"], x)
    text = traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
    for name in TRAINING | INFERENCE | EDGES:  # inference computes no statistics
        assert (f"{name}/batched" in text) == (platform != "cpu" and name in kernels), name
