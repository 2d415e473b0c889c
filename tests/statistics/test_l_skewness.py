import math

import numpy as np
import pytest
import scipy.stats

from tests.statistics.made_samples import score_of_map, scores_of_maps, sparse_maps


def by_weighted_moments(saliency):
    """From b_0, b_1, b_2 as Hosking prints them, in float64."""
    x = np.sort(np.asarray(saliency, np.float64))
    n = len(x)
    b0, b1, b2 = (np.mean([math.comb(i, r) / math.comb(n - 1, r) * x[i] for i in range(n)]) for r in range(3))
    return (6 * b2 - 6 * b1 + b0) / (2 * b1 - b0)


@pytest.mark.parametrize(
    "saliency, expected",
    # one point of n: all weights at their end, 1; [0, 1, 3]: l2 = 1, l3 = (0 - 2 + 3) / 3
    [([0, 0, 0, 1], 1.0), ([0, 1, 3], 1 / 3), ([-4, -1, 0, 1, 4], 0), ([2, 2, 2], 0), ([5], 0), ([1, 5], 0)],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert score_of_map("l_skewness", saliency) == pytest.approx(expected, abs=1e-6)


def test_equals_the_weighted_moments():
    dense = np.random.default_rng(0).gamma(2.0, size=(4, 1024)).astype(np.float32)
    for maps in (dense, sparse_maps(4, 1024), np.round(4 * dense)):
        expected = [by_weighted_moments(m) for m in maps]
        np.testing.assert_allclose(scores_of_maps("l_skewness", maps), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not hasattr(scipy.stats, "lmoment"), reason="scipy before 1.15")
def test_equals_scipy():
    maps = np.random.default_rng(1).normal(size=(4, 501)).astype(np.float32) ** 3
    expected = [scipy.stats.lmoment(m.astype(np.float64), 3) for m in maps]
    np.testing.assert_allclose(scores_of_maps("l_skewness", maps), expected, rtol=1e-4, atol=1e-6)


def test_known_distributions():
    grid = (np.arange(4000) + 0.5) / 4000
    assert score_of_map("l_skewness", grid) == pytest.approx(0, abs=1e-6)  # uniform
    assert score_of_map("l_skewness", -np.log(grid)) == pytest.approx(1 / 3, abs=1e-3)  # exponential


def test_offset_and_sign():
    saliency = np.random.default_rng(2).gamma(1.0, size=400)
    of = lambda s: score_of_map("l_skewness", s)  # noqa: E731
    assert of(saliency + 1) == pytest.approx(of(saliency), rel=1e-4)
    assert of(-saliency) == pytest.approx(-of(saliency), rel=1e-5)


def test_one_ulp_of_difference_is_rounding():
    saliency = np.full(1024, 0.3, np.float32)
    saliency[7] = np.nextafter(np.float32(0.3), np.float32(1))
    assert score_of_map("l_skewness", saliency) == 0
