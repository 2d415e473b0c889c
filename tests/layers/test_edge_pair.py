import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from smdsb_jax.geometry.neighbors import knn
from smdsb_jax.layers import edge_pair
from smdsb_jax.layers.basic import BatchNorm, Dense, leaky_relu, moments, torch_uniform
from smdsb_jax.layers.edge_pair import EdgeTerms, PooledEdges, pair_moments, pool_edges
from tests.layers.test_edge_conv import cloud, everything
from tests.random_variables import random_variables
from tests.tiers import cases

POINTS, K = 11, 4  # blocks of 4 points: two, and what is left


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(edge_pair, "BLOCK", 4)


class Pair(nn.Module):
    """The two layers as a T-Net has them."""

    use_norm: bool = True
    k: int = K
    widths: tuple[int, int] = (5, 6)

    @nn.compact
    def __call__(self, x, *, train):
        edges = EdgeTerms(self.widths[0], self.k, self.use_norm, name="first")(x, train=train)
        return PooledEdges(self.widths[1], self.use_norm, name="second")(edges, train=train)


class PlainTerms(nn.Module):
    """The published formula of the first layer, [batch, n, k, d]."""

    features: int
    k: int
    use_norm: bool

    @nn.compact
    def __call__(self, x, *, train):
        neighbors = jax.vmap(lambda cloud: cloud[knn(cloud, self.k)])(x)
        center = jnp.broadcast_to(x[:, :, None], neighbors.shape)
        edges = jnp.concatenate([neighbors - center, center], axis=-1)
        y = edges @ self.param("kernel", torch_uniform, (edges.shape[-1], self.features))
        return BatchNorm(self.features, name="norm")(y, train=train) if self.use_norm else y


class PlainSecond(nn.Module):
    """The second layer, of every edge, and the maximum after it."""

    features: int
    use_norm: bool

    @nn.compact
    def __call__(self, y, *, train):
        y = Dense(self.features, use_bias=False, name="dense")(leaky_relu(y, 0.2))
        y = BatchNorm(self.features, name="norm")(y, train=train) if self.use_norm else y
        return jnp.max(leaky_relu(y, 0.2), axis=2)


class Plain(nn.Module):
    """Both, with the parameters of `Pair`."""

    use_norm: bool = True
    k: int = K

    @nn.compact
    def __call__(self, x, *, train):
        y = PlainTerms(5, self.k, self.use_norm, name="first")(x, train=train)
        return PlainSecond(6, self.use_norm, name="second")(y, train=train)


def start(module, x):
    """Variables with norms of both signs."""
    variables = random_variables(module, x)
    if module.use_norm:
        for name, width in (("first", 5), ("second", 6)):
            scale = jnp.linspace(-1, 1.4, width, dtype=x.dtype)
            variables["params"][name]["norm"]["scale"] = scale
    return variables


@pytest.mark.parametrize(
    ("use_norm", "train", "k"), [(True, True, K), (True, False, K), (False, True, K), (True, True, POINTS)]
)
def test_equals_the_plain_formula(use_norm, train, k):
    with jax.enable_x64(True):
        x = jnp.asarray(cloud(2, POINTS, 3)) + 1
        variables = start(Pair(use_norm, k), x)
        found, expected = (everything(m(use_norm, k), variables, x, train) for m in (Pair, Plain))
        chex.assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-10)
        chex.assert_type(jax.tree.leaves(found), np.float64)


@pytest.mark.parametrize("train", cases([True, False], True))
def test_forward_mode_equals_the_plain_formulas(train):
    with jax.enable_x64(True):
        x, direction = jnp.asarray(cloud(2, POINTS, 3)), jnp.asarray(cloud(2, POINTS, 3, seed=3))
        variables = start(Pair(), x)
        change = jax.tree.map(lambda leaf: jnp.asarray(cloud(*leaf.shape, seed=4)), variables["params"])

        def tangent(module):
            def apply(params, x):
                given = {**variables, "params": params}
                return module.apply(given, x, train=train, mutable=["batch_stats"])

            jvp = lambda *tangents: jax.jvp(apply, (variables["params"], x), tangents)[1]  # noqa: E731
            return jax.jit(jvp)(change, direction)

        chex.assert_trees_all_close(tangent(Pair()), tangent(Plain()), rtol=1e-9, atol=1e-11)


def test_moments_of_edges_far_from_zero_without_the_edges():
    with jax.enable_x64(True):
        terms, kernel = jnp.asarray(cloud(2, 2, POINTS, 5)) + 50, jnp.asarray(cloud(5, 6, seed=1))
        neighbors = jax.vmap(functools.partial(knn, k=K))(terms[:, 1])
        ends = jax.vmap(lambda b, rows: b[rows])(terms[:, 1], neighbors)
        expected = moments(leaky_relu(terms[:, 0, :, None] + ends, 0.2) @ kernel)

        def found(terms, kernel):
            near = jnp.mean(leaky_relu(jnp.sum(terms, axis=1), 0.2), axis=(0, 1))
            pool = jax.vmap(functools.partial(pool_edges, True), in_axes=(0, 0, None, None))
            _, sums = pool(terms, neighbors, kernel.T, near)
            return pair_moments(jnp.sum(sums, axis=0), near, kernel, neighbors.size)

        chex.assert_trees_all_close(found(terms, kernel), expected, rtol=1e-10)
        rounded = found(terms.astype(jnp.float32), kernel.astype(jnp.float32))
    np.testing.assert_allclose(rounded.var, expected.var, rtol=1e-4)  # about 0 it would lose 4 digits


def test_the_gradient_of_equal_maxima_goes_to_the_first():
    terms, neighbors = (
        jnp.zeros((2, 3, 1)).at[1, :, 0].set(jnp.array([2.0, 5, 5])),
        jnp.array([[0, 1, 2]] * 3),
    )
    gradient = jax.grad(lambda t: pool_edges(False, t, neighbors, jnp.ones((1, 1)), jnp.zeros(1))[0].sum())(
        terms
    )
    np.testing.assert_array_equal(gradient[1, :, 0], [0, 3, 0])
    np.testing.assert_array_equal(gradient[0, :, 0], [1, 1, 1])


def test_gradient_of_each_sample_equals_that_of_the_sum():
    """As the saliency of each sample is computed: `vmap(grad)` of a batch of one."""
    x = jnp.asarray(cloud(3, POINTS, 3), jnp.float32)
    variables = start(Pair(), x)
    loss = lambda x: jnp.sum(Pair().apply(variables, x, train=False) ** 2)  # noqa: E731
    alone = jax.jit(jax.vmap(lambda p: jax.grad(loss)(p[None])[0]))(x)
    np.testing.assert_allclose(alone, jax.jit(jax.grad(loss))(x), rtol=1e-4, atol=1e-5)


def test_a_divided_batch_gives_the_same_and_repeats_no_work():
    x = jnp.asarray(cloud(8, POINTS, 3), jnp.float32)
    variables = start(Pair(), x)
    expected = everything(Pair(), variables, x, True)
    mesh = jax.sharding.Mesh(jax.devices()[:4], ("data",))
    with jax.set_mesh(mesh):
        divided = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
        found = everything(Pair(), variables, divided, True)
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), rtol=2e-4, atol=2e-5)


def test_coincident_points_give_finite_gradients():
    x = jnp.full((2, 6, 3), 1234.5)
    chex.assert_tree_all_finite(everything(Pair(), start(Pair(), x), x, True))


def test_points_that_are_nan_stay_in_their_cloud():
    x = jnp.asarray(cloud(2, POINTS, 3), jnp.float32).at[0].set(jnp.nan)
    y = jax.jit(functools.partial(Pair().apply, train=False))(start(Pair(), x), x)
    assert np.all(np.isnan(y[0])) and np.all(np.isfinite(y[1]))


def test_no_array_of_all_edges_exists(monkeypatch):
    monkeypatch.setattr(edge_pair, "BLOCK", 64)
    batch, n, k, pair = 4, 2048, 20, Pair(k=20, widths=(64, 128))
    x = jax.ShapeDtypeStruct((batch, n, 3), jnp.float32)
    variables = jax.eval_shape(functools.partial(pair.init, train=False), jax.random.key(0), x)

    loss = lambda v, x: jnp.sum(pair.apply(v, x, train=True, mutable=True)[0])  # noqa: E731
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(variables, x).compile()
    assert (
        compiled.memory_analysis().temp_size_in_bytes < 4 * batch * n * k * 128
    )  # of the second layer alone


KERNELS = ("pool_of_edges", "back_to_terms")


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_accelerators_get_the_batched_kernels(platform):
    x = jnp.ones((2, 8, 3))
    variables = start(Pair(), x)

    def loss(params, x):
        given = {**variables, "params": params}
        return Pair().apply(given, x, train=True, mutable=["batch_stats"])[0].sum()

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(variables["params"], x)
    text = traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
    for name in KERNELS:
        assert (f"{name}/batched" in text) == (platform != "cpu"), name
