import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from smdsb_jax.statistics import skewness
from tests.statistics.made_samples import sample, score_of_map, scores_of_maps


def of(saliency):
    return score_of_map("skewness", saliency)


@pytest.mark.parametrize(
    "saliency, expected",
    [([0, 0, 0, 1], 1.1547005), ([1, 2, 3, 4, 10], 1.1384200), ([-4, -1, 0, 1, 4], 0), ([2, 2, 2], 0)],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert of(saliency) == pytest.approx(expected, abs=1e-6)


def test_equals_scipy():
    saliency = np.random.default_rng(0).gamma(2.0, size=(8, 1024)).astype(np.float32)
    expected = scipy.stats.skew(saliency.astype(np.float64), axis=1)
    np.testing.assert_allclose([of(s) for s in saliency], expected, rtol=1e-5)


def test_offset_and_sign():
    saliency = np.random.default_rng(2).gamma(1.0, size=400)
    assert of(saliency + 1) == pytest.approx(of(saliency), rel=1e-4)
    assert of(-saliency) == pytest.approx(-of(saliency), rel=1e-5)


@pytest.mark.parametrize("n", [1, 16, 1000, 1024])
@pytest.mark.parametrize("value", [0.0, 0.3, 1e-20, 1e15])
def test_a_constant_map_scores_zero_with_a_finite_gradient(n, value):
    score = lambda s: skewness(sample(jnp.zeros(n))._replace(saliency=s))  # noqa: E731
    result, gradient = jax.value_and_grad(score)(jnp.full(n, value, jnp.float32))
    assert result == 0
    chex.assert_tree_all_finite(gradient)


def test_one_ulp_of_difference_is_rounding():
    saliency = np.full(1024, 0.3, np.float32)
    saliency[7] = np.nextafter(np.float32(0.3), np.float32(1))
    assert of(saliency) == 0


@pytest.mark.parametrize("n", [3, 16, 1024])
def test_the_adjusted_form_equals_scipy_and_ranks_as_the_population_form(n):
    maps = np.random.default_rng(0).gamma(2.0, size=(20, n)).astype(np.float32)
    adjusted = scores_of_maps("adjusted_skewness", maps)
    expected = scipy.stats.skew(maps.astype(np.float64), axis=1, bias=False)
    np.testing.assert_allclose(adjusted, expected, rtol=1e-4, atol=1e-6)
    assert (np.argsort(adjusted) == np.argsort(scores_of_maps("skewness", maps))).all()


@pytest.mark.parametrize("saliency", [[3.0], [1.0, 5.0]])
def test_the_adjusted_form_needs_three_points(saliency):
    assert score_of_map("adjusted_skewness", saliency) == pytest.approx(0, abs=1e-6)
