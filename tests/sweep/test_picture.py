import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from smdsb_jax.sweep.picture import STAGE_COLORS, draw_table

POINTS = [("first", 1, [[10.0, 16.0], [20.0]]), ("first", 2, [[30.0], []]), ("second", None, [[], []])]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The figure that is saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (figures.append(f), save(f, *a, **k))[1])
    draw_table(
        tmp_path / "table.png", "Tiny", ["c2b", "average"], POINTS, {"first": [50.0, None], "x": [1.0, 2.0]}
    )
    assert [p.name for p in tmp_path.iterdir()] == ["table.png"]
    assert np.ptp(imread(tmp_path / "table.png")) > 0
    return figures[0]


def test_means_deviations_and_printed_values_are_where_they_belong(drawn):
    left, right = drawn.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["first", "second", "x"]
    first, second = left.containers
    assert first.lines[0].get_xdata().tolist() == [13] and second.lines[0].get_xdata().tolist() == [30]
    bar = first.lines[2][0].get_segments()[0][:, 0]
    np.testing.assert_allclose(bar, [13 - np.sqrt(18), 13 + np.sqrt(18)])
    assert first.lines[0].get_color() == STAGE_COLORS[1]
    diamonds = [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in right.lines if line.get_marker() == "D"
    ]
    assert diamonds == [(2.0, 2)] and len(right.containers) == 1
    assert [t.get_text() for t in drawn.legends[0].get_texts()] == ["stage 1", "stage 2", "published"]
