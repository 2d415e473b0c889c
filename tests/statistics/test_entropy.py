import math

import numpy as np
import pytest
import scipy.stats

from smdsb_jax.statistics.entropy import prediction_entropy
from tests.statistics.made_samples import sample, score_of_map, scores_of_maps, sparse_maps


@pytest.mark.parametrize(
    "saliency, expected",
    [
        ([0, 0, 0, 1], 0),
        ([0, -1, 0, 1], math.log(2)),
        ([2, -1, 1], 1.5 * math.log(2)),
        ([3, 3, -3], math.log(3)),
        ([0, 0, 0], math.log(3)),  # leans on no point more than on another
    ],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert score_of_map("entropy", saliency) == pytest.approx(expected, abs=1e-6)


def test_equals_scipy():
    dense = np.random.default_rng(0).normal(size=(4, 1024)).astype(np.float32)
    for maps in (dense, sparse_maps(4, 1024)):
        expected = scipy.stats.entropy(np.abs(maps.astype(np.float64)), axis=1)
        np.testing.assert_allclose(scores_of_maps("entropy", maps), expected, rtol=1e-5)


def test_the_entropy_of_a_prediction_equals_scipy_and_is_zero_where_it_is_sure():
    logits = np.random.default_rng(0).normal(size=10).astype(np.float32)
    expected = scipy.stats.entropy(np.exp(logits.astype(np.float64)))
    assert float(prediction_entropy(sample(logits=logits))) == pytest.approx(expected, rel=1e-5)
    assert float(prediction_entropy(sample(logits=np.full(10, 7.0)))) == pytest.approx(math.log(10), rel=1e-6)
    assert float(prediction_entropy(sample(logits=[1e4, 0, -1e4]))) == 0
