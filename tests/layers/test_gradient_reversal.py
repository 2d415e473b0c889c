import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.layers.gradient_reversal import reverse_gradient

X = jnp.arange(12.0).reshape(2, 3, 2)


@pytest.mark.parametrize("progress", [1 / 200, 1.0])
def test_forward_it_is_the_identity_and_backward_minus_the_factor(progress):
    factor = jnp.sin(jnp.full(2, progress) * jnp.pi / 2)
    np.testing.assert_allclose(factor, {1 / 200: 0.0078539, 1.0: 1.0}[progress], rtol=1e-4)
    reverse = jax.jit(lambda x: reverse_gradient(x, factor))
    out, pull_back = jax.vjp(reverse, X)
    np.testing.assert_array_equal(out, X)
    np.testing.assert_allclose(pull_back(X)[0], -factor[0] * X, rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(reverse, (X,), (X,))[1], -factor[0] * X, rtol=1e-6)


def test_each_sample_has_a_factor_of_its_own():
    total = jax.jit(jax.grad(lambda x, factor: reverse_gradient(x, factor).sum(), (0, 1)))
    of_x, of_factor = total(X, jnp.array([2.0, 0.5]))
    np.testing.assert_array_equal(of_x, -np.array([2, 0.5])[:, None, None] * np.ones((2, 3, 2)))
    np.testing.assert_array_equal(of_factor, [0, 0])
