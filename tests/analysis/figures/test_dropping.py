import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from smdsb_jax.analysis.dropping import CRITICAL, HIGHEST, LOWEST, RANDOM
from smdsb_jax.analysis.figures import FIGURES, Material, write_table
from smdsb_jax.analysis.figures.dropping import dropping, rank_correlation


@pytest.fixture(scope="module")
def drawn(longer_runs):
    (found,) = dropping(Material([longer_runs[1]]), points=8, rounds=2, seeds=2).values()
    return found


def test_a_line_per_kind_and_domain_with_a_band_over_seeds(drawn, tmp_path):
    table = pd.read_csv(write_table(tmp_path / "t.csv", drawn.table))
    assert set(table["clouds of"]) == {"catalog (source), validation", "scan (target), test"}
    assert set(table.dropped) == {0, 8, 16} and len(table) == 2 * 3 * (3 + 2)
    assert set(table.kind) == {HIGHEST, LOWEST, CRITICAL, RANDOM}
    for axes, (_, own) in zip(drawn.figure.axes, table.groupby("clouds of"), strict=True):
        lines = {line.get_label().split(",")[0]: line.get_ydata() for line in axes.lines}
        for kind, accuracy in lines.items():
            of_kind = 100 * own[own.kind == kind].groupby("dropped").accuracy.mean()
            np.testing.assert_allclose(accuracy, of_kind)
        assert len(axes.collections) == 1


def test_the_notes_tell_area_change_and_correlation(drawn):
    table = pd.DataFrame(drawn.table)
    own = table[table["clouds of"] == "scan (target), test"]
    accuracy = own.groupby(["kind", "dropped"]).accuracy.mean()
    gap = accuracy[RANDOM] - accuracy[HIGHEST]
    area = 100 * (gap[0] / 4 + gap[8] / 2 + gap[16] / 4)  # the trapezoidal rule
    assert f"costs {area:.1f} points of accuracy more" in drawn.notes[3]
    change = 100 * (accuracy[LOWEST][16] - accuracy[LOWEST][0])
    assert (
        f"without the 16 points of lowest saliency the accuracy changes by {change:+.1f} ±" in drawn.notes[4]
    )
    assert "Spearman" in drawn.notes[5] and "its 8 points" in drawn.notes[5]


def test_a_rank_correlation_with_its_interval():
    a, noise = np.random.default_rng(0).normal(size=(2, 100))
    value, low, high = rank_correlation(a, a + noise)
    assert value == pytest.approx(scipy.stats.spearmanr(a, a + noise).statistic)
    half = 1.96 * (1 - value**2) / np.sqrt(99)
    assert low == pytest.approx(value - half, abs=0.05) and high == pytest.approx(value + half, abs=0.05)
    assert all(np.isnan(rank_correlation(np.ones(9), np.arange(9.0))))


def test_a_run_of_other_labels_or_too_few_points_is_left_out(longer_runs, monkeypatch):
    assert not FIGURES["dropping"].examines
    with pytest.raises(ValueError, match="5 rounds of 20 points each cannot be dropped of clouds of 32"):
        dropping(Material([longer_runs[1]]))

    def of_points(*args, **fields):
        model = load(*args, **fields)
        network = model.network._replace(task=model.network.task._replace(per_point=True))
        return model._replace(network=network)

    module = sys.modules[dropping.__module__]
    load = module.load
    monkeypatch.setattr(module, "load", of_points)
    with pytest.raises(ValueError, match="labels points, which cannot be dropped"):
        dropping(Material([longer_runs[1]]))
