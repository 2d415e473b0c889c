import numpy as np
import pytest

from smdsb_jax.analysis.examined import SOURCE, TARGET
from smdsb_jax.analysis.figures.base import Material
from smdsb_jax.analysis.figures.saliency_levels import saliency_level, saliency_levels
from tests.analysis.synthetic_examined import examined


@pytest.mark.parametrize(
    "saliency, level",
    [((0, 1, 3, 4, 6, 9, -2), (0, 0, 1, 1, 2, 2, 0)), ((-3, -1, -2), (0, 0, 0)), ((0, 0), (0, 0)), ((), ())],
)
def test_levels_are_thirds_of_the_maximum(saliency, level):
    assert saliency_level(np.array(saliency, float)).tolist() == list(level)
    assert saliency_level(1e-20 * np.array(saliency, np.float32)).tolist() == list(level)


def test_the_saliency_figure_shows_the_extremes_of_each_class_side_by_side():
    e = examined()
    (drawn,) = saliency_levels(Material([], [examined(step=100), e])).values()
    axes = [a for a in drawn.figure.axes if a.get_title()]
    for k, name in enumerate(e.classes):
        skewness = e.scores["skewness"][(e.domain == SOURCE) & (e.label == k)]
        low, high = axes[2 * k : 2 * k + 2]
        assert low.get_title().startswith(f"{name}, skewness {skewness.min():.2f}\ntenth 1 ")
        assert high.get_title().startswith(f"{name}, skewness {skewness.max():.2f}\n")
        counts = [int(n) for n in high.get_title().split("; ")[1].split(" / ")]
        assert sum(counts) == e.points.shape[1]
        sizes = high.collections[0].get_sizes()
        assert [np.sum(sizes == size) for size in (4, 8, 16)] == counts
        assert [drawn.table[2 * k + 1][level] for level in ("low", "middle", "high")] == counts
    assert "step 200" in drawn.figure.get_suptitle()


def test_target_is_shown_where_no_class_has_two_source_samples():
    e = examined()
    keep = (e.domain == TARGET)[e.shown]
    e = e._replace(shown=e.shown[keep], points=e.points[keep], saliency=e.saliency[keep])
    (drawn,) = saliency_levels(Material([], [e])).values()
    assert "\ntarget, " in drawn.figure.get_suptitle()
