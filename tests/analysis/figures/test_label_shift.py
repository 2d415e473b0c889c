import numpy as np
import pytest
import scipy.stats

from smdsb_jax.analysis.figures import FIGURES, Material
from smdsb_jax.analysis.figures.label_shift import drawn
from smdsb_jax.analysis.outputs import open_run
from smdsb_jax.inference import score


def test_the_mean_over_all_is_the_share_of_wrong_labels_times_that_over_these():
    of_true = np.linspace(-1, 1, 10)
    difference = np.zeros(10)
    difference[[2, 5]] = 0.4, 0.6
    found = drawn("a run", of_true + difference, of_true, difference > 0)
    distance = scipy.stats.ks_2samp(of_true + difference, of_true).statistic
    assert "mean skewness by +0.100" in found.notes[0]
    assert "20.0 % are wrong, by +0.500 on these, and 0.200 · +0.500 = +0.100" in found.notes[0]
    assert found.notes[0].endswith(f"distance {distance:.3f}.")
    assert [row["wrong"] for row in found.table] == (difference > 0).astype(int).tolist()


def test_no_wrong_label_is_no_shift():
    found = drawn("a run", np.ones(3), np.ones(3), np.zeros(3, bool))
    assert "by +0.000 (" in found.notes[0] and "0.0 % are wrong, by +0.000" in found.notes[0]


def test_a_runs_scores_are_those_of_inference_and_agree_where_the_label_is_right(run):
    ((name, found),) = FIGURES["fig7"].draw(Material([run])).items()
    assert name.endswith("stage 1") and len(found.figure.axes[0].get_legend().texts) == 2
    opened = open_run(run, stage=1)
    table = {key: np.array([row[key] for row in found.table]) for key in found.table[0]}
    np.testing.assert_allclose(table["true_label"], score(opened.model, "skewness", opened.target.train))
    np.testing.assert_allclose(table["pseudo_label"], score(opened.model, "skewness", "target"))
    right = table["wrong"] == 0
    assert 0 < right.sum() < len(right)
    np.testing.assert_array_equal(table["pseudo_label"][right], table["true_label"][right])


def test_a_run_without_a_stage_1_checkpoint_is_told(tmp_path):
    with pytest.raises(ValueError, match="is not the workdir of a run"):
        FIGURES["fig7"].draw(Material([tmp_path]))
