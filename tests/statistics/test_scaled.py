import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from smdsb_jax.statistics.scaled import mass, norm, scaled, standardized_moment


def test_a_map_over_its_largest_magnitude():
    values, scale, zero = scaled(jnp.array([1.0, -4.0, 0.0]))
    assert values.tolist() == [0.25, -1, 0] and (scale, zero) == (4, 0)
    assert scaled(jnp.zeros(3))[0].tolist() == [0, 0, 0]
    assert np.isnan(scaled(jnp.array([1.0, jnp.inf]))[2]) and np.isnan(scaled(jnp.array([1.0, jnp.nan]))[2])


def test_moments_of_any_power():
    values = np.random.default_rng(0).gamma(1.0, size=300).astype(np.float32)
    z = scipy.stats.zscore(values.astype(np.float64))
    for power in (2, 3, 4, 5):
        assert float(standardized_moment(jnp.asarray(values), power, 7.0)) == pytest.approx(
            np.mean(z**power), rel=1e-4
        )
    assert standardized_moment(jnp.full(1000, 0.3), 5, 7.0) == 7


def test_mass_sums_to_one_and_zeros_share_alike():
    np.testing.assert_allclose(mass(jnp.array([1.0, -2.0, 0.0, 1.0])), [0.25, 0.5, 0, 0.25])
    assert mass(jnp.zeros(4)).tolist() == [0.25] * 4


def test_the_norm_neither_underflows_nor_overflows_and_has_a_gradient_at_zero():
    for size in (1e-30, 1.0, 1e30):
        assert float(norm(size * jnp.array([3.0, 4.0]))) == pytest.approx(5 * size, rel=1e-6, abs=0)
    assert jax.grad(norm)(jnp.array([3e-30, 4e-30])).tolist() == pytest.approx([0.6, 0.8])
    assert norm(jnp.zeros(2)) == 0 and jax.grad(norm)(jnp.zeros(2)).tolist() == [0, 0]
