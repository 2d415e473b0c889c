import numpy as np
import pytest
import scipy.stats
from matplotlib.image import imread

from smdsb_jax.analysis import figures
from smdsb_jax.analysis.examined import SOURCE, TARGET
from tests.analysis.synthetic_examined import examined

RNG = np.random.default_rng(0)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    found = []
    save = figures.save
    monkeypatch.setattr(figures, "save", lambda figure, path: (found.append(figure), save(figure, path)))
    return found


def test_bins_have_equal_counts_and_scipys_standard_error():
    score, measure = RNG.permutation(25).astype(float), RNG.normal(size=25)
    bins = figures.quantile_bins(score, measure)
    assert bins.count.tolist() == [3] * 5 + [2] * 5
    lowest, highest = np.argsort(score)[:3], np.argsort(score)[-2:]
    assert bins.center[[0, -1]] == pytest.approx([1.0, 23.5])
    assert bins.mean[0] == pytest.approx(measure[lowest].mean())
    assert bins.sem[-1] == pytest.approx(scipy.stats.sem(measure[highest]))


def test_clouds_that_were_looked_at_twice_are_no_more_clouds():
    score, measure = RNG.permutation(30).astype(float), RNG.normal(size=30)
    once = figures.quantile_bins(score, measure, 3)
    twice = figures.quantile_bins(*np.tile([score, measure], 2), 3, np.tile(np.arange(30), 2))
    np.testing.assert_allclose(twice.sem, once.sem)
    assert (twice.count == 2 * once.count).all()
    apart = figures.quantile_bins(*np.tile([score, measure], 2), 3)  # as if they were other clouds
    assert (apart.sem < 0.75 * once.sem).all()


def test_bins_leave_out_what_is_not_finite_and_are_never_empty():
    score = np.array([1.0, np.nan, 0.0, 2.0, 3.0])
    bins = figures.quantile_bins(score, np.array([5.0, 1.0, 4.0, np.inf, 6.0]), bins=10)
    assert bins.center.tolist() == [0, 1, 3] and bins.mean.tolist() == [4, 5, 6]
    assert np.isnan(bins.sem).all() and bins.count.tolist() == [1, 1, 1]
    assert all(len(field) == 0 for field in figures.quantile_bins(np.zeros(0), np.zeros(0)))


def test_bins_of_equal_scores_are_cut_in_the_order_of_the_samples():
    bins = figures.quantile_bins(np.zeros(4), np.arange(4.0), bins=2)
    assert bins.mean.tolist() == [0.5, 2.5]


@pytest.mark.parametrize(
    "saliency, level",
    [((0, 1, 3, 4, 6, 9, -2), (0, 0, 1, 1, 2, 2, 0)), ((-3, -1, -2), (0, 0, 0)), ((0, 0), (0, 0)), ((), ())],
)
def test_levels_are_thirds_of_the_maximum(saliency, level):
    assert figures.saliency_level(np.array(saliency, float)).tolist() == list(level)
    assert figures.saliency_level(1e-20 * np.array(saliency, np.float32)).tolist() == list(level)


def test_the_conflict_figure_has_a_column_per_domain_and_a_line_per_seed(tmp_path, drawn):
    one, two = examined(), examined(seed=1)
    paths = figures.draw(["conflict"], [one, two], tmp_path)
    assert [path.name for path in paths] == ["conflict.svg", "conflict.png"]
    assert imread(paths[1]).std() > 0.05 and "<svg" in paths[0].read_text()
    axes = drawn[0].axes
    assert len(axes) == 6 and len(axes[0].containers) == 2
    rho = [
        scipy.stats.spearmanr(
            e.scores["skewness"][e.domain == SOURCE], e.measures["gain"][e.domain == SOURCE]
        )
        for e in (one, two)
    ]
    mean = np.tanh(np.mean([np.arctanh(r.statistic) for r in rho]))
    assert axes[0].get_title(loc="left") == f"source: Spearman {mean:.2f}"
    line = axes[0].containers[0].lines[0]
    of = one.domain == SOURCE
    bins = figures.quantile_bins(one.scores["skewness"][of], one.measures["gain"][of])
    np.testing.assert_allclose(line.get_xydata(), np.stack([bins.center, bins.mean], axis=1))


def test_each_group_and_stage_has_its_own_conflict_figure(tmp_path):
    paths = figures.draw(["conflict"], [examined(), examined(stage=2)], tmp_path)
    assert [p.stem for p in paths[::2]] == [f"conflict_defrec_c2s_stage_{stage}" for stage in (1, 2)]


def test_a_measure_that_only_some_checkpoints_have_is_drawn_from_those(tmp_path, drawn):
    without = examined(seed=1)._replace(measures={"gain": examined().measures["gain"]})
    figures.draw(["conflict"], [examined(), without], tmp_path)
    assert len(drawn[0].axes) == 6


def test_the_saliency_figure_shows_the_extremes_of_each_class_side_by_side(tmp_path, drawn):
    e = examined()
    paths = figures.draw(["saliency_levels"], [examined(step=100), e], tmp_path)
    assert [path.name for path in paths] == ["saliency_levels.svg", "saliency_levels.png"]
    axes = [a for a in drawn[0].axes if a.get_title()]
    for k, name in enumerate(e.classes):
        skewness = e.scores["skewness"][(e.domain == SOURCE) & (e.label == k)]
        low, high = axes[2 * k : 2 * k + 2]
        assert low.get_title().startswith(f"{name}, skewness {skewness.min():.2f}\ntenth 1 ")
        assert high.get_title().startswith(f"{name}, skewness {skewness.max():.2f}\n")
        counts = [int(n) for n in high.get_title().split("; ")[1].split(" / ")]
        assert sum(counts) == e.points.shape[1]
        sizes = high.collections[0].get_sizes()
        assert [np.sum(sizes == size) for size in (4, 8, 16)] == counts
    assert "step 200" in drawn[0].get_suptitle()


def test_target_is_shown_where_no_class_has_two_source_samples(tmp_path, drawn):
    e = examined()
    keep = (e.domain == TARGET)[e.shown]
    e = e._replace(shown=e.shown[keep], points=e.points[keep], saliency=e.saliency[keep])
    figures.draw(["saliency_levels"], [e], tmp_path)
    assert "\ntarget, " in drawn[0].get_suptitle()


def test_an_unknown_figure_is_refused_before_any_is_drawn(tmp_path):
    with pytest.raises(ValueError, match="figure = 'conflcit'.*Did you mean 'conflict'.*saliency_levels"):
        figures.draw(["saliency_levels", "conflcit"], [examined()], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_data_name_the_remedy(tmp_path):
    e = examined()
    with pytest.raises(ValueError, match="examine with .* the measures gain, cos_o"):
        figures.draw(["conflict"], [e._replace(measures={"loo": e.measures["loo"]})], tmp_path)
    few = e._replace(shown=e.shown[:1], points=e.points[:1], saliency=e.saliency[:1])
    with pytest.raises(ValueError, match="show more samples"):
        figures.draw(["saliency_levels"], [few], tmp_path)
    with pytest.raises(ValueError, match="statistic skewness"):
        figures.draw(["saliency_levels"], [e._replace(scores={})], tmp_path)


def test_a_figure_of_ones_own_is_drawn_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "own_figure.py").write_text(
        "def count(examined, folder):\n"
        "    path = folder / 'count.txt'\n"
        "    path.write_text(str(len(examined)))\n"
        "    return [path]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (path,) = figures.draw(["own_figure:count"], [examined(), examined(seed=1)], tmp_path)
    assert path.read_text() == "2"
