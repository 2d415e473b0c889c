import math

import numpy as np
import pytest

from smdsb_jax.report.tables import Selected, per_class_table, summary_table, titles
from smdsb_jax.scores import SELECT_BY


def test_the_headline_says_so():
    assert list(titles("oracle")) == list(SELECT_BY)
    assert [k for k, title in titles("source_val").items() if "(headline)" in title] == ["source_val"]


def scores_of(source, target):
    return {"source_val/accuracy": source, "target_test/accuracy": target}


def test_summary_keeps_each_selection_in_its_column():
    table = summary_table([
        Selected(2, "last", 600, scores_of(0.9, 0.5)), Selected(2, "oracle", 450, scores_of(0.8, 0.625)),
        Selected(1, "last", 300, scores_of(0.25, 0.125)),
        Selected(1, "source_val", 200, scores_of(0.5, math.nan)),
    ], "last")  # fmt: skip
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert cells[0] == ["stage", "", *titles("last").values()]
    assert cells[2:] == [
        ["1", "target test accuracy, %", "12.5", "-", "-"],
        ["1", "source validation accuracy, %", "25.0", "50.0", "-"],
        ["1", "step", "300", "200", "-"],
        ["2", "target test accuracy, %", "50.0", "-", "62.5"],
        ["2", "source validation accuracy, %", "90.0", "-", "80.0"],
        ["2", "step", "600", "-", "450"],
    ]
    assert len({len(line) for line in table.splitlines()}) == 1
    with pytest.raises(ValueError, match="Known: last, oracle, source_val"):
        summary_table([Selected(1, "best", 1, {})], "last")


def test_per_class_table_names_the_commonest_error_and_the_unmeasured_class():
    confusion = np.array([[6, 1, 3], [0, 0, 0], [0, 0, 2]])
    table = per_class_table(("chair", "lamp", "table"), confusion)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert cells == [
        ["chair", "10", "60.0", "table (30.0 %)"],
        ["lamp", "0", "-", "-"],
        ["table", "2", "100.0", "-"],
        ["mean over classes", "", "80.0", ""],
        ["all samples", "12", "66.7", ""],
    ]
