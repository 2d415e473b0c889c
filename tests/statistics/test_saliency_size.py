import numpy as np
import pytest

from tests.statistics.made_samples import score_of_map, scores_of_maps


@pytest.mark.parametrize(
    "saliency, norm, maximum",
    [([3, -4, 0], 5, 4), ([0, 0, 0], 0, 0), ([3e-30, -4e-30], 5e-30, 4e-30), ([3e25, 4e25], 5e25, 4e25)],
)
def test_values_worked_out_by_hand(saliency, norm, maximum):
    assert score_of_map("saliency_norm", saliency) == pytest.approx(norm, rel=1e-6, abs=0)
    assert score_of_map("saliency_maximum", saliency) == pytest.approx(maximum, rel=1e-6, abs=0)


def test_equal_numpy():
    maps = np.random.default_rng(0).normal(size=(4, 1024)).astype(np.float32)
    norm = np.linalg.norm(maps.astype(np.float64), axis=1)
    np.testing.assert_allclose(scores_of_maps("saliency_norm", maps), norm, rtol=1e-5)
    assert (scores_of_maps("saliency_maximum", maps) == np.abs(maps).max(axis=1)).all()
