import numpy as np
import pytest

from smdsb_jax.analysis.checkpoints import describe
from smdsb_jax.analysis.examine import Measured, saliency_shares
from smdsb_jax.analysis.examined import SOURCE, TARGET, TARGET_TRUE
from tests.analysis.synthetic_examined import examined


def test_shares_of_points_with_next_to_no_saliency():
    maps = np.array([[0, 0.009, -0.01, 1], [0, 0, 0, 0], [-2, -1, 0.02, 0.03]], np.float32)
    found = saliency_shares(maps)
    assert found["zero"].tolist() == [0.25, 1, 0] and found["flat"].tolist() == [0.75, 1, 0.25]


def test_each_domain_is_told_under_true_labels_with_the_cosines_of_both():
    e = examined()
    angles = {"class and oracle": np.asarray(0.3), "oracle and deployed": np.asarray(-0.2)}
    rows = describe(e, Measured({}, {}, angles))
    assert [row["domain"] for row in rows] == [SOURCE, TARGET]
    for row, true in zip(rows, (SOURCE, TARGET_TRUE), strict=True):
        here, truth = e.domain == row["domain"], e.domain == true
        assert (row["checkpoint"], row["samples"]) == (e.name, 40)
        assert row["accuracy"] == pytest.approx(np.mean(e.predicted[truth] == e.label[truth]))
        assert row["gain_mean"] == pytest.approx(e.measures["gain"][here].mean())
        assert row["dot_o_std"] == pytest.approx(np.std(e.measures["dot_o"][here]))
        assert row["saliency_flat"] == pytest.approx(e.saliency_shares["flat"][here].mean())
        assert (row["cos class and oracle"], row["cos oracle and deployed"]) == (0.3, -0.2)
    assert rows[1]["accuracy"] != pytest.approx(np.mean((e.predicted == e.label)[e.domain == TARGET]))
    of_points = describe(e._replace(classes=("all",)), Measured({}, {}, angles))
    assert of_points[0]["accuracy"] is None
