import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from smdsb_jax.report import embedding, pictures

CLASSES = ("chair", "lamp")
LABEL = np.array([0, 1, 0, 1, -1, 0])
DOMAIN = np.repeat(["source", "target"], 3)


def features(count=40, seed=0):
    """Two heaps, far from each other."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 8)) + 20 * np.eye(8)[np.arange(count) % 2]


def test_a_map_keeps_heaps_apart_and_repeats_to_the_bit():
    place = embedding.tsne(embedding.unit_length(features()))
    np.testing.assert_array_equal(place, embedding.tsne(embedding.unit_length(features())))
    heap = np.arange(40) % 2
    near = np.linalg.norm(place[:, None] - place[None], axis=2) + 1e9 * np.eye(40)
    assert (heap[near.argmin(axis=1)] == heap).all()
    assert not embedding.tsne(np.ones((12, 3))).any()  # a collapsed network


def test_rows_are_of_the_whole_split():
    assert embedding.spread_rows(3, 10).tolist() == [0, 1, 2]
    assert embedding.spread_rows(100, 3).tolist() == [0, 49, 99]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The figure, whose map has the points at their numbers."""
    saved = []
    monkeypatch.setattr(pictures, "FigureCanvasAgg", lambda f: saved.append(f) or FigureCanvasAgg(f))
    monkeypatch.setattr(embedding, "tsne", lambda f: np.stack([np.arange(len(f)), f[:, 0]], axis=1))
    panels = {"before": np.ones((6, 2)), "after": np.ones((6, 2))}
    names = ("catalog (source), test", "scan (target), test")
    embedding.embeddings(tmp_path / "e.png", panels, LABEL, DOMAIN, CLASSES, names, "catalog → scan")
    return saved[-1]


def test_colors_are_classes_marks_domains_and_gray_is_without_a_label(drawn):
    colors = [to_rgba(c) for c in (*pictures.PART_COLORS[:2], embedding.WITHOUT)]
    before, after = drawn.axes
    assert [axes.get_title("left") for axes in drawn.axes] == ["before", "after"]
    for axes in (before, after):
        seen = {}
        for points in axes.collections:
            for x, _ in points.get_offsets():
                filled = len(points.get_facecolor()) > 0
                seen[int(x)] = (tuple(points.get_edgecolor()[0]), filled, len(points.get_paths()[0]) > 5)
        expected = {i: (colors[LABEL[i]], DOMAIN[i] == "target", DOMAIN[i] == "source") for i in range(6)}
        assert seen == expected  # the source's are open circles
    assert [t.get_text() for t in drawn.legends[0].get_texts()] == [
        *CLASSES, "no label", "catalog (source), test", "scan (target), test",
    ]  # fmt: skip
