import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from smdsb_jax.selection import keep_mask
from smdsb_jax.state import Sample
from smdsb_jax.statistics import skewness


def sample(saliency):
    n = len(saliency)
    return Sample(
        points=jnp.zeros((n, 3)),
        gradient=jnp.zeros((n, 3)),
        saliency=jnp.asarray(saliency, jnp.float32),
        embedding=jnp.zeros(4),
        logits=jnp.zeros(3),
        loss=jnp.zeros(()),
        label=jnp.zeros((), jnp.int32),
        key=jax.random.key(0),
    )


def of(saliency):
    return float(skewness(sample(saliency)))


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


@pytest.mark.parametrize("factor", [1e-20, 1e-9, 1e6, 1e15])
def test_scale_does_not_matter(factor):
    saliency = np.random.default_rng(1).normal(size=500) ** 3
    assert of(saliency * factor) == pytest.approx(of(saliency), rel=1e-4)


def test_offset_sign_and_order():
    saliency = np.random.default_rng(2).gamma(1.0, size=400)
    assert of(saliency + 1) == pytest.approx(of(saliency), rel=1e-4)
    assert of(-saliency) == pytest.approx(-of(saliency), rel=1e-5)
    assert of(saliency[::-1]) == pytest.approx(of(saliency), rel=1e-5)


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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("others", [[0.0, 0.0, 0.0], [1.0, 2.0, 30.0]])
def test_a_map_that_is_not_finite_scores_nan_and_its_batch_goes_before_it(bad, others):
    maps = jnp.asarray([[*others, bad], [1.0, 2.0, 3.0, 40.0], [0.0, 0.0, 0.0, 0.0], [9.0, 3.0, 3.0, 4.0]])
    scores = jax.vmap(lambda s: skewness(sample(jnp.zeros(4))._replace(saliency=s)))(maps)
    assert np.isnan(scores).tolist() == [True, False, False, False]
    for side in ("low", "high"):
        assert keep_mask(scores, 0.75, side).tolist() == [False, True, True, True]
