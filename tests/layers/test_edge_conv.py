import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from smdsb_jax.geometry.neighbors import knn
from smdsb_jax.layers import edge_conv
from smdsb_jax.layers.basic import BatchNorm, Dense, leaky_relu, moments, product, torch_uniform
from smdsb_jax.layers.edge_conv import (
    EdgeConv,
    LayerNormEdgeConv,
    LinearEdgeConv,
    edge_factors,
    edge_moments,
    max_over_neighbors,
    neighbor_max,
    neighbor_rows,
    neighbor_sum,
)
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

    @nn.compact
    def __call__(self, x, *, train):
        edges = jax.vmap(functools.partial(edge_features, k=self.k))(x)
        y = edges @ self.param("kernel", torch_uniform, (edges.shape[-1], self.features))
        y = leaky_relu(BatchNorm(self.features, name="norm")(y, train=train), 0.2)
        return jnp.max(y, axis=-2)


class PlainLinearEdgeConv(nn.Module):
    """Its layers one after the other, of every edge."""

    features: int
    k: int
    depth: int

    @nn.compact
    def __call__(self, x):
        y = jax.vmap(functools.partial(edge_features, k=self.k))(x)
        for i in range(self.depth):
            y = Dense(self.features, name=f"dense{i + 1}")(y)
        return jnp.max(y, axis=-2)


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


@pytest.mark.parametrize("depth", [1, 2])
def test_linear_layers_equal_their_plain_formula(depth):
    with jax.enable_x64(True):
        x = jnp.asarray(cloud(2, 20, 3))
        weight = cloud(2, 20, 7, seed=1)
        shapes = jax.eval_shape(LinearEdgeConv(7, 5, depth).init, jax.random.key(0), x)
        rng = np.random.default_rng(2)
        variables = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
        assert len(jax.tree.leaves(variables)) == 2 * depth

        def weighted(module, variables, x):
            y = module.apply(variables, x)
            return jnp.sum(weight * y), y

        ours, plain = (
            jax.jit(jax.grad(functools.partial(weighted, m), (0, 1), has_aux=True))(variables, x)
            for m in (LinearEdgeConv(7, 5, depth), PlainLinearEdgeConv(7, 5, depth))
        )
        chex.assert_trees_all_close(ours, plain, rtol=1e-10, atol=1e-10)


def test_linear_layers_start_as_dense_layers_of_their_own():
    params = LinearEdgeConv(64, 2, 2).init(jax.random.key(0), jnp.asarray(cloud(1, 3, 3), jnp.float32))[
        "params"
    ]
    for name, inputs in (("dense1", 6), ("dense2", 64)):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        assert kernel.shape == (inputs, 64) and bias.shape == (64,)
        for values in (kernel, bias):
            assert 0.7 * inputs**-0.5 < np.abs(values).max() <= inputs**-0.5


def test_linear_layers_make_no_array_of_all_edges():
    batch, n, k, d = 8, 512, 20, 64
    module, x = LinearEdgeConv(d, k, 2), jax.ShapeDtypeStruct((batch, n, d), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    step = jax.jit(jax.grad(lambda v, x: jnp.sum(module.apply(v, x) ** 2), (0, 1)))
    memory = step.lower(variables, x).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * batch * n * k * d / 2


def with_layer_norm(layer, x):
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), x.dtype), shapes)


def test_the_layer_norm_of_all_edges_of_a_cloud_equals_its_plain_formula():
    n, k, d = 20, 5, 7
    with jax.enable_x64(True):
        x = jnp.asarray(cloud(2, n, 3) + 2)
        given = with_layer_norm(LayerNormEdgeConv(d, k), x)
        weight = cloud(2, n, d, seed=1)

        def plain(params, x):
            order = jnp.argsort(jnp.sum((x[:, :, None] - x[:, None]) ** 2, axis=-1), axis=-1)[:, :, :k]
            ends = jax.vmap(lambda points, rows: points[rows])(x, order)  # the nearest first
            center = jnp.broadcast_to(x[:, :, None], ends.shape)
            y = jnp.concatenate([ends - center, center], axis=-1) @ params["kernel"]
            mean, var = (f(y, axis=(1, 2, 3), keepdims=True) for f in (jnp.mean, jnp.var))
            y = (y - mean) / jnp.sqrt(var + 1e-5) * params["norm"]["scale"][None] + params["norm"]["bias"][
                None
            ]
            return jnp.sum(weight * jnp.where(y > 0, y, 0.2 * y).max(axis=2))

        def ours(params, x):
            return jnp.sum(weight * LayerNormEdgeConv(d, k).apply({"params": params}, x))

        found, expected = (jax.jit(jax.value_and_grad(f, (0, 1)))(given, x) for f in (ours, plain))
        chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-9)
        assert given["norm"]["scale"].shape == (n, k, d)


@pytest.mark.parametrize("n", [9, 300])  # 300: two blocks of points
def test_moments_of_edges_without_the_edges(n):
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(cloud(2, n, 3)) + 5, jnp.asarray(cloud(6, 4, seed=1))
        neighbors = jax.vmap(functools.partial(knn, k=4))(x)
        edges = jax.vmap(functools.partial(edge_features, k=4))(x)
        found = edge_moments(*(product(x, factor) for factor in edge_factors(kernel)), neighbors)
        chex.assert_trees_all_close(found, moments(edges @ kernel), rtol=1e-10)


def test_edges_that_are_all_equal_have_no_variance_below_zero():
    x, kernel = jnp.full((2, 9, 3), 1234.5), jnp.asarray(cloud(6, 4, seed=1), jnp.float32)
    neighbors = jax.vmap(functools.partial(knn, k=4))(x)
    a, b = (product(x, factor) for factor in edge_factors(kernel))
    assert np.all(edge_moments(a, b, neighbors).var >= 0)


def test_the_gradient_of_equal_maxima_goes_to_one():
    b, neighbors = jnp.array([[2.0], [5], [5]]), jnp.array([[0, 1, 2], [2, 1, 0], [0, 0, 0]])
    gradient = jax.grad(lambda b: neighbor_max(b, neighbors).sum())(b)
    np.testing.assert_array_equal(gradient[:, 0], [1, 2, 0])
    of_sum = jax.grad(lambda b: neighbor_sum(b, neighbors).sum())(b)
    np.testing.assert_array_equal(of_sum[:, 0], [5, 2, 2])  # edges into each point


@pytest.mark.parametrize("values, largest", [(10**6, "9,3,4"), (30, "2,3,4"), (1, "1,3,4")])
def test_neighbors_are_gathered_of_so_many_points_as_stay_in_the_caches(monkeypatch, values, largest):
    monkeypatch.setattr(edge_conv, "BLOCK_VALUES", values)
    b = jnp.asarray(cloud(9, 4))
    neighbors = knn(b, 3)
    compiled = jax.jit(lambda b, neighbors: max_over_neighbors(b, neighbors)).lower(b, neighbors)
    assert f"{largest.replace(',', 'x')}xf32" in compiled.as_text()
    found, winner = compiled.compile()(b, neighbors)
    rows = np.asarray(b)[neighbors]
    np.testing.assert_array_equal(found, rows.max(axis=1))
    np.testing.assert_array_equal(np.take_along_axis(np.asarray(b), winner, axis=0), found)


@pytest.mark.parametrize(("of_edges", "order"), [(neighbor_max, 1), (neighbor_sum, 2), (neighbor_rows, 2)])
def test_forward_and_reverse_mode_equal_finite_differences(of_edges, order):
    with jax.enable_x64(True):
        b = jnp.asarray(cloud(2, 9, 3))
        neighbors = jax.vmap(functools.partial(knn, k=4))(b)
        batched = jax.jit(lambda b: jax.vmap(of_edges)(b, neighbors))
        jax.test_util.check_grads(batched, (b,), order=order, modes=["fwd", "rev"])


@pytest.mark.parametrize("train", [True, False])
def test_forward_mode_of_the_layer_equals_the_plain_formulas(train):
    with jax.enable_x64(True):
        x, direction = jnp.asarray(cloud(2, 30, 4)), jnp.asarray(cloud(2, 30, 4, seed=3))
        variables = start(EdgeConv(7, 5), x)

        def tangent(module):
            def apply(x):
                return module.apply(variables, x, train=train, mutable=["batch_stats"])

            return jax.jit(lambda x, dx: jax.jvp(apply, (x,), (dx,))[1])(x, direction)

        chex.assert_trees_all_close(tangent(EdgeConv(7, 5)), tangent(PlainEdgeConv(7, 5)), rtol=1e-9)


def test_gradient_of_each_sample_equals_that_of_the_sum():
    """As the saliency of each sample is computed: `vmap(grad)` of a batch of one."""
    x = jnp.asarray(cloud(3, 20, 3), jnp.float32)
    module = EdgeConv(7, 5)
    variables = start(module, x)

    def loss(x):
        return jnp.sum(module.apply(variables, x, train=False) ** 2)

    alone = jax.jit(jax.vmap(lambda p: jax.grad(loss)(p[None])[0]))(x)
    np.testing.assert_allclose(alone, jax.jit(jax.grad(loss))(x), rtol=1e-4, atol=1e-5)


def test_a_divided_batch_gives_the_same_and_repeats_no_work():
    x = jnp.asarray(cloud(8, 20, 3), jnp.float32)
    module = EdgeConv(7, 5)
    variables = start(module, x)
    expected = everything(module, variables, x, True)
    mesh = jax.sharding.Mesh(jax.devices()[:4], ("data",))

    def loss(params, x):
        y, updated = module.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        weight = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        return jnp.sum(weight * y), (y, updated)

    with jax.set_mesh(mesh):
        divided = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
        compiled = jax.jit(jax.grad(loss, (0, 1), has_aux=True)).lower(variables["params"], divided).compile()
        found = compiled(variables["params"], divided)
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), rtol=2e-4, atol=2e-5)
    # the loops over samples make 2 turns on each of 4 devices, none makes all 8
    assert 'known_trip_count":{"n":"2"}' in compiled.as_text()
    assert 'known_trip_count":{"n":"8"}' not in compiled.as_text()
    assert "all-gather" not in compiled.as_text()


@pytest.mark.parametrize("train", [True, False])
def test_coincident_points_give_finite_gradients(train):
    x = jnp.full((2, 6, 3), 1234.5)  # far out, so that rounding is large against epsilon
    chex.assert_tree_all_finite(everything(EdgeConv(4, 3), start(EdgeConv(4, 3), x), x, train))


def test_coincident_points_give_finite_gradients_of_the_layer_norm_of_edges():
    x, layer = jnp.full((2, 6, 3), 1234.5), LayerNormEdgeConv(4, 3)
    params = with_layer_norm(layer, x)
    loss = jax.value_and_grad(lambda params, x: jnp.sum(layer.apply({"params": params}, x) ** 2), (0, 1))
    chex.assert_tree_all_finite(jax.jit(loss)(params, x))


def test_points_that_are_nan_stay_inside_the_arrays():
    x = jnp.asarray(cloud(2, 6, 3), jnp.float32).at[0].set(jnp.nan)
    _, (y, _) = everything(EdgeConv(4, 3), start(EdgeConv(4, 3), x), x, False)
    assert np.all(np.isnan(y[0]))
    assert np.all(np.isfinite(y[1]))


MAX, MAX_GRADIENT = "max_over_neighbors", "add_to_winners"
SUM, SUM_GRADIENT = "sum_over_neighbors", "add_to_neighbors"
ROWS, ROWS_GRADIENT = "rows_of_neighbors", "add_rows_to_neighbors"
KERNELS = {MAX, MAX_GRADIENT, SUM, SUM_GRADIENT, ROWS, ROWS_GRADIENT, "edges_into", "knn_search"}
TRAINING = {MAX, MAX_GRADIENT, SUM, SUM_GRADIENT, "edges_into", "knn_search"}
INFERENCE = {MAX, MAX_GRADIENT, "knn_search"}  # no statistics


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
@pytest.mark.parametrize(
    ("module", "train", "kernels"),
    [(EdgeConv(4, 3), True, TRAINING), (EdgeConv(4, 3), False, INFERENCE)],
)
def test_which_kernels_run_and_that_accelerators_get_the_batched_ones(module, train, kernels, platform):
    x = jnp.ones((2, 8, 3))
    variables = start(module, x)

    def loss(params, x):
        y, _ = module.apply({**variables, "params": params}, x, train=train, mutable=["batch_stats"])
        return y.sum()

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(variables["params"], x)
    text = traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
    for name in KERNELS:
        assert (f"{name}/batched" in text) == (platform != "cpu" and name in kernels), name
