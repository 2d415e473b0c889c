import numpy as np
import pytest

from tests.statistics.made_samples import score_of_map, scores_of_maps, sparse_maps


@pytest.mark.parametrize(
    "saliency, expected",
    [
        ([0, 0, 0, 1], 1.0),  # at least one point
        ([*range(1, 10), -15], 0.25),
        ([1] * 20, 0.1),
        ([0] * 20, 0.1),
        ([4] * 19, 1 / 19),  # the tenth is rounded down
        ([*[1] * 18, 5, 5], 10 / 28),
    ],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert score_of_map("top_mass", saliency) == pytest.approx(expected, abs=1e-6)


def test_equals_numpy():
    dense = np.random.default_rng(0).normal(size=(4, 1024)).astype(np.float32)
    for maps in (dense, sparse_maps(4, 1024)):
        a = np.sort(np.abs(maps.astype(np.float64)), axis=1)[:, ::-1]
        expected = a[:, :102].sum(axis=1) / a.sum(axis=1)
        np.testing.assert_allclose(scores_of_maps("top_mass", maps), expected, rtol=1e-5)
