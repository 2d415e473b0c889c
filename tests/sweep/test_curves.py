import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from smdsb_jax.sweep.curves import draw_curves, learning_curve

FIRST = [
    np.array([[10, 20, 30], [40, 50, 60.0]]),
    np.array([[10, 30], [20, 40.0]]),
]  # the second stopped late
CURVES = {("first", "c2b"): FIRST, ("first", "c2s"): FIRST[:1], ("second", "c2b"): FIRST[1:]}


def test_a_learning_curve_is_the_headline_of_the_evaluations(tmp_path):
    records = [
        {"stage": 1, "step": 5, "loss/class": 1.0},
        {"stage": 1, "step": 10, "target_test/accuracy": 0.25},
        {"stage": 2, "step": 20, "target_test/accuracy": None, "source_val/accuracy": 0.9},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    np.testing.assert_array_equal(learning_curve(tmp_path), [[10, 20], [25, np.nan]])
    (tmp_path / "metrics.jsonl").write_text(json.dumps(records[0]) + "\n")
    assert learning_curve(tmp_path).size == 0


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (figures.append(f), save(f, *a, **k))[1])
    draw_curves(tmp_path / "curves.png", "Tiny", CURVES)
    assert np.ptp(imread(tmp_path / "curves.png")) > 0
    return figures[0]


def test_every_run_and_the_mean_at_common_steps_are_drawn_before_the_first_row(drawn):
    first, second = drawn.axes
    assert [first.get_title(), second.get_title()] == ["first", "second"]
    lines = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in second.lines]
    mean = ([10, 30], [30, 50])  # of the two seeds of the first row, where both were evaluated
    run = ([10, 30], [20, 40])
    assert lines[:3] == [mean, run, run]  # behind, the run, and the mean of one
    assert len(first.lines) == (1 + 2 + 1) + (1 + 1 + 1)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["c2b", "c2s"]


def test_panels_without_a_row_are_hidden(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("smdsb_jax.sweep.curves.save", lambda figure, path: figures.append(figure))
    draw_curves(tmp_path / "curves.png", "Tiny", {(str(i), "c2b"): FIRST for i in range(5)})
    assert [axes.get_visible() for axes in figures[0].axes] == [True] * 5 + [False] * 3
