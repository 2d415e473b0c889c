import numpy as np
import pytest
import scipy.stats

from tests.statistics.made_samples import score_of_map, scores_of_maps, sparse_maps


@pytest.mark.parametrize(
    "saliency, expected",
    # two values are the flattest: -2; [0, 0, 0, 1]: z⁴ means 7/3
    [([-1, 1, -1, 1], -2.0), ([0, 0, 0, 1], 7 / 3 - 3), ([2, 2, 2], 0.0)],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert score_of_map("kurtosis", saliency) == pytest.approx(expected, abs=1e-6)


def test_equals_scipy():
    dense = np.random.default_rng(0).gamma(2.0, size=(8, 1024)).astype(np.float32)
    for maps in (dense, sparse_maps(8, 1024)):
        expected = scipy.stats.kurtosis(maps.astype(np.float64), axis=1)
        np.testing.assert_allclose(scores_of_maps("kurtosis", maps), expected, rtol=1e-4)


def test_offset_and_sign_do_not_matter():
    saliency = np.random.default_rng(2).gamma(1.0, size=400)
    for other in (saliency + 1, -saliency):
        expected = score_of_map("kurtosis", saliency)
        assert score_of_map("kurtosis", other) == pytest.approx(expected, rel=1e-4)
