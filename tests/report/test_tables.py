import math

import numpy as np
import pytest

from smdsb_jax.report.tables import Selected, per_class_table, summary_table, titles
from smdsb_jax.scores import SELECT_BY
from smdsb_jax.tasks.classification import classification
from smdsb_jax.tasks.segmentation import segmentation


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
    validated = {"target_test/accuracy": 0.5, "validator/snd": 3.0, "classes/target": 4.0}
    own = summary_table([Selected(1, "last", 2, validated), Selected(1, "snd", 1, validated)], "snd")
    assert "best by snd (headline)" in own and len(own.splitlines()) == 4  # a column, but no row
    with pytest.raises(ValueError, match="Known: last, oracle, source_val"):
        summary_table([Selected(1, "best", 1, {})], "last")


def test_per_class_table_names_the_commonest_error_and_the_unmeasured_class():
    label, prediction = np.array([0] * 10 + [2] * 2), np.array([0] * 6 + [1] + [2] * 5)
    table = per_class_table(("chair", "lamp", "table"), label, prediction, classification())
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert cells == [
        ["chair", "10", "60.0", "table (30.0 %)"],
        ["lamp", "0", "-", "-"],
        ["table", "2", "100.0", "-"],
        ["mean over classes", "", "80.0", ""],
        ["accuracy of all", "12", "66.7", ""],
    ]


def test_per_class_table_of_parts_has_the_iou_and_every_convention():
    label, prediction = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])
    lines = per_class_table(("arm", "leg", "head"), label, prediction, segmentation()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["class", "points", "IoU, %", "most often taken for"]
    assert cells[2:] == [
        ["arm", "2", "50.0", "leg (50.0 %)"],
        ["leg", "2", "66.7", "-"],
        ["head", "0", "-", "-"],
        ["mean over classes", "", "58.3", ""],
        ["mIoU of all", "1", "58.3", ""],
        ["mIoU all parts of all", "1", "72.2", ""],
        ["mIoU pooled of all", "1", "58.3", ""],
        ["accuracy of all", "1", "75.0", ""],
    ]
