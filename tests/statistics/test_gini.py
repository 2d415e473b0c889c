import numpy as np
import pytest

from tests.statistics.made_samples import score_of_map, scores_of_maps, sparse_maps


@pytest.mark.parametrize(
    "saliency, expected",
    [([0, 0, 0, 1], 0.75), ([1, 3], 0.25), ([-1, 3], 0.25), ([2, -2, 2], 0), ([0, 0, 0], 0), ([5], 0)],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert score_of_map("gini", saliency) == pytest.approx(expected, abs=1e-6)


def test_equals_the_mean_difference_of_pairs():
    dense = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    for maps in (dense, sparse_maps(3, 300)):
        a = np.abs(maps.astype(np.float64))
        pairs = np.abs(a[:, :, None] - a[:, None]).mean(axis=(1, 2))
        np.testing.assert_allclose(scores_of_maps("gini", maps), pairs / (2 * a.mean(axis=1)), rtol=1e-5)
