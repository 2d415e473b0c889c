import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from smdsb_jax.layers.basic import DenseBlock, moments
from smdsb_jax.layers.pooled_dense import PooledDense, max_of_product, product_moments
from tests.random_variables import random_variables


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def start(features, x, **options):
    """A pooled layer, the plain one with the same parameters, and variables with norms of both signs."""
    pooled = PooledDense(features, **options)
    variables = random_variables(pooled, x)
    if "norm" in variables["params"]:
        variables["params"]["norm"]["scale"] = jnp.linspace(-1, 1.4, features, dtype=x.dtype)
    return pooled, DenseBlock(features, **options), variables


def everything(module, variables, x, train):
    """Output, running statistics, and the gradients of a weighted sum by parameters and points."""

    def loss(params, x):
        y, updated = module.apply({**variables, "params": params}, x, train=train, mutable=["batch_stats"])
        y = y if y.ndim == 2 else jnp.max(y, axis=1)
        weight = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        return jnp.sum(weight * y), (y, updated)

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x)


@pytest.mark.parametrize(
    ("options", "train"),
    [
        ({}, True),
        ({}, False),
        ({"use_bias": True, "negative_slope": 0.0}, True),
        ({"use_bias": True, "negative_slope": 0.0}, False),
        ({"use_norm": False}, True),
        ({"use_bias": True, "negative_slope": 1.0, "use_norm": False}, True),
    ],
)
def test_equals_the_plain_layer_and_its_maximum(options, train):
    with jax.enable_x64(True):
        x = jnp.asarray(cloud(3, 11, 4)) + 2
        pooled, plain, variables = start(6, x, **options)
        found, expected = (everything(m, variables, x, train) for m in (pooled, plain))
        chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-11)
        chex.assert_type(jax.tree.leaves(found), np.float64)


def test_forward_mode_equals_the_plain_layers():
    with jax.enable_x64(True):
        x, direction = jnp.asarray(cloud(3, 11, 4)), jnp.asarray(cloud(3, 11, 4, seed=1))
        pooled, plain, variables = start(6, x)

        def tangent(module):
            def apply(x):
                y, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
                return (y if y.ndim == 2 else y.max(1)), updated

            return jax.jit(lambda x, dx: jax.jvp(apply, (x,), (dx,))[1])(x, direction)

        chex.assert_trees_all_close(tangent(pooled), tangent(plain), rtol=1e-9, atol=1e-12)


def test_moments_of_a_product_without_the_product():
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(cloud(3, 11, 4)) + 5, jnp.asarray(cloud(4, 6, seed=1))
        chex.assert_trees_all_close(product_moments(x, kernel), moments(x @ kernel), rtol=1e-10)
        batched = jax.jit(lambda x, w: product_moments(jnp.asarray(x), jnp.asarray(w))[:2])
        jax.test_util.check_grads(batched, (x, kernel), 1, ["fwd", "rev"])


def test_the_gradient_of_equal_maxima_goes_to_the_first():
    x, columns = jnp.array([[1.0, 0], [3, 0], [3, 0]]), jnp.array([[1.0, 0], [2, 0]])
    gradient = jax.grad(lambda x: max_of_product(x, columns).sum())(x)
    np.testing.assert_array_equal(gradient[:, 0], [0, 3, 0])


def test_coincident_points_give_finite_gradients():
    x = jnp.full((2, 6, 3), 1234.5)
    pooled, _, variables = start(4, x)
    chex.assert_tree_all_finite(everything(pooled, variables, x, True))


def test_points_that_are_nan_stay_in_their_cloud():
    x = jnp.asarray(cloud(2, 6, 3), jnp.float32).at[0].set(jnp.nan)
    pooled, _, variables = start(4, x)
    y = pooled.apply(variables, x, train=False)
    assert np.all(np.isnan(y[0])) and np.all(np.isfinite(y[1]))


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_accelerators_get_the_batched_kernels(platform):
    x = jnp.ones((2, 8, 3))
    pooled, _, variables = start(4, x)

    def loss(params, x):
        return pooled.apply({**variables, "params": params}, x, train=False).sum()

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(variables["params"], x)
    text = traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
    for name in ("max_over_points", "to_points", "to_columns"):
        assert (f"{name}/batched" in text) == (platform != "cpu"), name
