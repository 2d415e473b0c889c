from pathlib import Path

import pytest

from smdsb_jax.report.summary import selected_rows
from smdsb_jax.scores import SELECT_BY
from smdsb_jax.sweep.measure import MEASURES


def test_accuracies_of_each_stage_and_selection_apart(tiny_runs):
    values = MEASURES["accuracy"].of_run("a", Path(tiny_runs[0]))
    assert set(values) == {("a", stage, selection) for stage in (1, 2) for selection in SELECT_BY}
    for row in selected_rows(tiny_runs[0]):
        score = row.scores["target_test/accuracy"]
        assert values["a", row.stage, row.select_by] == [pytest.approx(100 * score)]
    titles = MEASURES["accuracy"].choices
    assert list(titles) == list(SELECT_BY) and "uses target labels" in titles["oracle"]


def test_agreement_of_the_saliency_modes(tiny_runs):
    values = MEASURES["agreement"].of_run("", Path(tiny_runs[0]))
    assert values["the same by chance", 1, "last"] == [75.0]  # 6 of 8
    kept = values["kept by both saliency modes", 1, "last"]
    assert len(kept) == 20 and all(
        100 * 4 / 6 <= share + 1e-3 <= 101 for share in kept
    )  # 6 and 6 of 8 share 4
    assert len(values["rank correlation of scores", 1, "last"]) == 20
