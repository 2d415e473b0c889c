import numpy as np
import pytest
import scipy.stats

from smdsb_jax.analysis.examined import SOURCE
from smdsb_jax.analysis.figures.base import Material
from smdsb_jax.analysis.figures.conflict import conflict, quantile_bins
from tests.analysis.synthetic_examined import examined

RNG = np.random.default_rng(0)


def test_bins_have_equal_counts_and_scipys_standard_error():
    score, measure = RNG.permutation(25).astype(float), RNG.normal(size=25)
    bins = quantile_bins(score, measure)
    assert bins.count.tolist() == [3] * 5 + [2] * 5
    lowest, highest = np.argsort(score)[:3], np.argsort(score)[-2:]
    assert bins.center[[0, -1]] == pytest.approx([1.0, 23.5])
    assert bins.mean[0] == pytest.approx(measure[lowest].mean())
    assert bins.sem[-1] == pytest.approx(scipy.stats.sem(measure[highest]))


def test_clouds_that_were_looked_at_twice_are_no_more_clouds():
    score, measure = RNG.permutation(30).astype(float), RNG.normal(size=30)
    once = quantile_bins(score, measure, 3)
    twice = quantile_bins(*np.tile([score, measure], 2), 3, np.tile(np.arange(30), 2))
    np.testing.assert_allclose(twice.sem, once.sem)
    assert (twice.count == 2 * once.count).all()
    apart = quantile_bins(*np.tile([score, measure], 2), 3)  # as if they were other clouds
    assert (apart.sem < 0.75 * once.sem).all()


def test_bins_leave_out_what_is_not_finite_and_are_never_empty():
    score = np.array([1.0, np.nan, 0.0, 2.0, 3.0])
    bins = quantile_bins(score, np.array([5.0, 1.0, 4.0, np.inf, 6.0]), bins=10)
    assert bins.center.tolist() == [0, 1, 3] and bins.mean.tolist() == [4, 5, 6]
    assert np.isnan(bins.sem).all() and bins.count.tolist() == [1, 1, 1]
    assert all(len(field) == 0 for field in quantile_bins(np.zeros(0), np.zeros(0)))


def test_bins_of_equal_scores_are_cut_in_the_order_of_the_samples():
    bins = quantile_bins(np.zeros(4), np.arange(4.0), bins=2)
    assert bins.mean.tolist() == [0.5, 2.5]


def test_the_conflict_figure_has_a_column_per_domain_and_a_line_per_seed():
    one, two = examined(), examined(seed=1)
    (drawn,) = conflict(Material([], [one, two])).values()
    axes = drawn.figure.axes
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
    bins = quantile_bins(one.scores["skewness"][of], one.measures["gain"][of])
    np.testing.assert_allclose(line.get_xydata(), np.stack([bins.center, bins.mean], axis=1))
    first = [
        row for row in drawn.table if (row["measure"], row["domain"], row["seed"]) == ("gain", SOURCE, 0)
    ]
    np.testing.assert_allclose([row["mean"] for row in first], bins.mean)
    assert [row["clouds"] for row in first] == bins.count.tolist()


def test_each_group_and_stage_has_its_own_conflict_figure():
    drawn = conflict(Material([], [examined(), examined(stage=2)]))
    assert list(drawn) == [f"{examined().group}, stage {stage}" for stage in (1, 2)]


def test_a_measure_that_only_some_checkpoints_have_is_drawn_from_those():
    without = examined(seed=1)._replace(measures={"gain": examined().measures["gain"]})
    (drawn,) = conflict(Material([], [examined(), without])).values()
    assert len(drawn.figure.axes) == 6
