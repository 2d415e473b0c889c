import json

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from smdsb_jax.report import pictures

CLASSES = ("chair", "lamp", "table")
CONFUSION = np.array([[6, 1, 3], [0, 0, 0], [0, 0, 2]])  # no lamps


@pytest.fixture
def figure(monkeypatch):
    """The last figure that was saved."""
    saved = []
    monkeypatch.setattr(pictures, "FigureCanvasAgg", lambda f: saved.append(f) or FigureCanvasAgg(f))
    return lambda: saved[-1]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def labels(axes):
    return [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]


def write_records(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_curves_show_losses_accuracies_and_the_boundary(tmp_path, figure):
    records = [
        {"stage": 1, "step": s, "loss/class": 2.0 / s, "loss/pretext_source": 0.1} for s in range(1, 101)
    ]
    records += [{"stage": 2, "step": s, "loss/class": 0.01} for s in range(101, 111)]
    records += [{"stage": 1, "step": 50, "source_val/accuracy": 0.5, "target_test/accuracy": None}]
    write_records(tmp_path / "metrics.jsonl", records)
    pictures.curves(tmp_path / "pictures" / "curves.png", tmp_path / "metrics.jsonl")
    assert imread(tmp_path / "pictures" / "curves.png").shape[1] > 1000
    left, right = figure().axes
    assert labels(left) == ["class", "pretext source"]
    assert labels(right) == ["source val", "target test"]
    np.testing.assert_allclose(left.lines[0].get_ydata(), [2.0 / s for s in range(1, 101)] + [0.01] * 10)
    assert left.lines[1].get_ydata()[99] == pytest.approx(np.mean([2.0 / s for s in range(96, 101)]))
    np.testing.assert_array_equal(right.lines[0].get_xydata(), [[50, 50.0]])
    assert left.get_yscale() == "log"
    assert texts(left) == texts(right) == ["stage 2"]
    assert left.lines[-1].get_xdata()[0] == 100
    assert [t.get_text() for t in left.get_yticklabels()] == ["0.01", "0.1", "1"]
    assert left.yaxis.get_minorticklocs().size == 0
    for axes in (left, right):  # of the same steps, and the mark beside its line, within the panel
        assert axes.get_xlim() == right.get_xlim() and axes.get_xlim()[0] == 0
        (box,) = (text.get_window_extent() for text in axes.texts)
        line = axes.transData.transform((100, 1))[0]
        assert axes.bbox.x0 < box.x0 and (box.x1 < line or line < box.x0) and box.x1 < axes.bbox.x1


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.05, 30.0, [0.1, 1, 10]),
        (0.27, 4.5, [0.5, 1, 2]),
        (0.76, 1.42, [0.8, 1, 1.2, 1.4]),
        (0.79, 1.6, [0.8, 1, 1.2, 1.4, 1.6]),
        (1e-9, 1e3, [1e-9, 1e-7, 1e-5, 1e-3, 1e-1, 1e1, 1e3]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_few_and_round(low, high, expected):
    np.testing.assert_allclose(pictures.log_ticks(low, high), expected)


def test_curves_have_a_panel_of_weights_where_a_rule_recorded_such(tmp_path, figure):
    weights = {"combine/weight/class": 1.5, "combine/weight/pretext": 0.5, "combine/cosine_merged": 0.9}
    write_records(
        tmp_path / "m.jsonl", [{"stage": 1, "step": s, "loss/class": 1.0, **weights} for s in (1, 2)]
    )
    pictures.curves(tmp_path / "curves.png", tmp_path / "m.jsonl")
    _, _, third = figure().axes
    assert (third.get_title("left"), labels(third)) == ("Weights", ["class", "pretext"])
    np.testing.assert_array_equal(third.lines[1].get_xydata(), [[1, 0.5], [2, 0.5]])


@pytest.mark.parametrize("value", [0.0, -1.0, None])
def test_losses_without_a_logarithm_are_drawn_on_a_plain_scale(tmp_path, figure, value):
    write_records(tmp_path / "m.jsonl", [{"stage": 1, "step": s, "loss/class": value} for s in (1, 2)])
    pictures.curves(tmp_path / "curves.png", tmp_path / "m.jsonl")
    left = figure().axes[0]
    assert left.get_yscale() == "linear"
    assert not texts(left)  # no stage 2


def test_curves_of_a_run_without_records(tmp_path):
    write_records(tmp_path / "m.jsonl", [])
    pictures.curves(tmp_path / "curves.png", tmp_path / "m.jsonl")
    assert (tmp_path / "curves.png").exists()


def test_confusion_shows_percentages_of_rows_and_leaves_an_empty_class_blank(tmp_path, figure):
    pictures.confusion(tmp_path / "c.png", CONFUSION, CLASSES, "catalog → scan")
    axes = figure().axes[0]
    assert texts(axes) == ["60", "10", "30", "0", "0", "100"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["chair (10)", "lamp (0)", "table (2)"]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, [[60, 10, 30], [np.nan] * 3, [0, 0, 100]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class (samples)")


def test_scores_have_a_bar_per_class_and_stage(tmp_path, figure):
    scores = {"stage 1": np.array([0.6, np.nan, 1.0]), "stage 2": np.ones(3)}
    pictures.class_scores(tmp_path / "a.png", scores, CLASSES, "IoU")
    axes = figure().axes[0]
    assert axes.get_ylabel() == "IoU, %"
    assert [bar.get_height() for bar in axes.patches] == [60, 0, 100, 100, 100, 100]
    assert texts(axes) == ["60", "no samples", "100", "100", "100", "100"]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["stage 1", "stage 2"]


CLOUD = np.array([[0, 0, -1], [0, 0, 1], [0.2, 0, 0], [-0.2, 0, 0]], np.float32)


def test_saliency_has_three_levels_of_equal_width_and_negative_is_low(tmp_path, figure):
    saliencies = np.array([[-5.0, 0.9, 1.1, 3.0], [0.0, 0.0, -1.0, 0.0]], np.float32)
    pictures.saliency(tmp_path / "s.png", np.stack([CLOUD, CLOUD]), saliencies, ["low", "none"], azimuth=0.0)
    first, second, bar = figure().axes
    assert [axes.get_title() for axes in (first, second)] == ["low", "none"]
    assert bar.get_xlabel() == "saliency / its maximum in the cloud" and texts(bar) == list(
        pictures.LEVEL_NAMES
    )
    assert [t.get_text() for t in bar.get_xticklabels()] == ["0 or less", "1/3", "2/3", "1"]
    # farthest first; from +x: the third point is nearest, the fourth farthest
    position = {tuple(xy): i for i, xy in enumerate(np.round(first.collections[0].get_offsets(), 3))}
    top, bottom = max(position, key=lambda xy: xy[1]), min(position, key=lambda xy: xy[1])
    assert top == (0, np.round(np.cos(np.deg2rad(18)), 3)) and bottom == (0, -top[1])  # z is up
    colors = first.collections[0].get_facecolor()

    def level(color):  # lightening by depth keeps the hue: look for the color c with color = c + (1 - c) t
        shades = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in pictures.LEVELS])
        mixes = [[s + (1 - s) * t for t in np.linspace(0, 0.35, 36)] for s in shades]
        return int(np.argmin([np.min(np.abs(np.array(m) - color[:3]).sum(axis=1)) for m in mixes]))

    assert level(colors[position[bottom]]) == 0  # -5
    assert level(colors[position[top]]) == 0  # 0.9 of 3.0
    near, far = sorted((p for p in position if p not in (top, bottom)), key=lambda xy: xy[1])
    assert level(colors[position[near]]) == 1  # 1.1
    assert level(colors[position[far]]) == 2  # 3.0
    assert position[far] < position[near]  # the nearer one is drawn over it
    assert {level(color) for color in second.collections[0].get_facecolor()} == {0}


@pytest.mark.parametrize("levels", [True, False])
def test_saliency_of_coincident_points_and_a_flat_map_is_drawn(tmp_path, levels):
    clouds, saliencies = np.zeros((1, 8, 3), np.float32), np.zeros((1, 8), np.float32)
    pictures.saliency(tmp_path / "s.png", clouds, saliencies, ["point"], levels=levels)
    assert np.isfinite(imread(tmp_path / "s.png")).all()


def test_pictures_leave_pyplot_alone(tmp_path):
    import matplotlib.pyplot as plt

    pictures.confusion(tmp_path / "c.png", CONFUSION, CLASSES)
    assert plt.get_fignums() == [] and isinstance(Figure(), Figure)


def test_each_point_has_the_color_of_its_part(tmp_path, figure):
    labels = {"true": np.array([[0, 1, 2, 2]]), "predicted": np.array([[0, 1, 1, 0]])}
    pictures.parts(tmp_path / "p.png", CLOUD[None], labels, CLASSES, ["best"], azimuth=0.0)
    true, predicted = figure().axes
    assert true.get_title() == "best" and [t.get_text() for t in true.texts + predicted.texts] == list(labels)
    shown = [{tuple(c[:3]) for c in axes.collections[0].get_facecolors()} for axes in (true, predicted)]
    assert [len(colors) for colors in shown] == [4, 4]  # the farther points are paler
    assert [t.get_text() for t in figure().legends[0].get_texts()] == list(CLASSES)
    assert len({tuple(color) for color in pictures.part_colors(10)(range(10))}) == 10  # PointDA-10's classes


def test_names_are_written_as_they_are(tmp_path):
    odd = (r"$\frac{$", "$x$", "a_b & <c>")
    pictures.confusion(tmp_path / "confusion.svg", CONFUSION, odd, title=r"$\frac{$ on $x$")
    pictures.class_scores(
        tmp_path / "scores.png", {r"$\frac{$": np.array([0.1, 0.2, np.nan])}, odd, "IoU", "$"
    )
    cloud, map_ = np.eye(3, dtype=np.float32)[None], np.ones((1, 3), np.float32)
    pictures.saliency(tmp_path / "saliency.png", cloud, map_, [odd[0]], odd[0])
    pictures.parts(tmp_path / "parts.png", cloud, {odd[0]: np.arange(3)[None]}, odd, [odd[0]])
    assert len(list(tmp_path.iterdir())) == 4
