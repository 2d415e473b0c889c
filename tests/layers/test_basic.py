import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.layers.basic import BatchNorm, Dense, Dropout, leaky_relu, moments, random_bits


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_dense_starts_as_in_pytorch():
    params = Dense(512).init(jax.random.key(0), jnp.zeros((1, 1024)))["params"]
    for value in (params["kernel"], params["bias"]):
        assert 0.031 < np.abs(value).max() <= 0.03125  # 1/sqrt(1024); of 512 biases too
    np.testing.assert_allclose(params["kernel"].std(), 0.01804, rtol=0.01)
    np.testing.assert_allclose(params["bias"].std(), 0.01804, rtol=0.1)
    assert abs(params["kernel"].mean()) < 1e-4


def test_leaky_relu_and_its_derivative():
    values = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_allclose(leaky_relu(values, 0.2), [-0.2, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(lambda x: leaky_relu(x, 0.2)))(values), [0.2, 0.2, 1])
    np.testing.assert_allclose(leaky_relu(values, 0.0), [0, 0, 2])


def test_batch_norm_of_the_worked_example():
    norm, x = BatchNorm(1), jnp.array([[1.0], [3.0]])
    variables = norm.init(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], [1])  # init does not count as a batch
    y, updated = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y[:, 0], [-0.999995, 0.999995], rtol=1e-7)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], [0.2], rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], [1.1], rtol=1e-6)  # 0.9 + 0.1 * unbiased 2


def test_batch_norm_of_two_constant_batches_then_inference():
    norm = BatchNorm(2)
    variables = norm.init(jax.random.key(0), jnp.zeros((1, 2)), train=False)
    for constant in (0.0, 10.0):
        x = jnp.full((4, 3, 2), constant)
        _, updated = norm.apply(variables, x, train=True, mutable=["batch_stats"])
        variables = {**variables, **updated}
    np.testing.assert_allclose(updated["batch_stats"]["mean"], [1, 1], rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], [0.81, 0.81], rtol=1e-6)
    y = norm.apply(variables, jnp.full((1, 2), 1.9), train=False)
    np.testing.assert_allclose(y, np.full((1, 2), 0.9 / np.sqrt(0.81 + 1e-5)), rtol=1e-6)


def test_batch_norm_of_a_single_value_is_its_bias():
    norm = BatchNorm(3)
    variables = norm.init(jax.random.key(0), jnp.zeros((1, 3)), train=False)
    y, updated = norm.apply(variables, jnp.full((1, 3), 7.0), train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(y, np.zeros((1, 3)))
    chex.assert_tree_all_finite(updated)


def test_moments_over_all_axes_but_channels():
    x = cloud(4, 5, 6, 3).astype(np.float32) + 100  # far from 0: E x^2 - (E x)^2 would lose the variance
    mean, var, count = moments(jnp.asarray(x))
    exact = x.astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-4)
    assert count == 120


@pytest.mark.parametrize("width", [32, 40, 7])  # whole words, and a part of one
def test_random_bits_are_fair_and_independent(width):
    bits = np.asarray(jax.jit(random_bits, static_argnums=1)(jax.random.key(0), (4000, width)))
    assert bits.shape == (4000, width) and bits.dtype == bool
    np.testing.assert_allclose(bits.mean(0), 0.5, atol=0.04)  # 5 standard deviations
    np.testing.assert_allclose(bits.mean(), 0.5, atol=0.01)
    between = np.corrcoef(bits.T) - np.eye(width)
    assert np.abs(between).max() < 0.09
    assert not np.array_equal(bits, random_bits(jax.random.key(1), (4000, width)))


@pytest.mark.parametrize("rate", [0.5, 0.3])
def test_dropout_keeps_its_share_and_the_mean(rate):
    x = jnp.ones((1000, 40))
    apply = jax.jit(lambda x: Dropout(rate).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    y = np.asarray(apply(x))
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-6)
    np.testing.assert_allclose(y.mean(), 1, atol=0.03)
    np.testing.assert_array_equal(jax.grad(lambda x: apply(x).sum())(x), y)  # linear, as it is drawn
    np.testing.assert_array_equal(jax.jvp(apply, (x,), (x,))[1], y)
    for options, train in ((rate, False), (0.0, True)):
        np.testing.assert_array_equal(Dropout(options).apply({}, x, train=train), x)
