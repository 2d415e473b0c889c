import numpy as np
import pytest

from smdsb_jax.analysis import figures
from smdsb_jax.analysis.figures import Material
from smdsb_jax.analysis.figures.group_losses import group_losses, moving, ratio_of_means
from tests.analysis.figures.test_recorded import write_run

STEPS = 1000


def run_of(workdir, low, high, log_every=1):
    records = [
        (1, (i + 1) * log_every, {"selection/source/loss_low": a, "selection/source/loss_high": b})
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    ]
    config = {"selection.statistic": "skewness", "log_every": log_every, "stage1.steps": len(low) * log_every}
    return write_run(workdir, records, **config)


def test_the_moving_variance_is_of_the_population():
    (mean,), (variance,), (variation,), (log_variance,) = moving(np.array([1.0, 3, 1, 3, 1, 3]), 6)
    assert (mean, variance, variation) == (2.0, 1.0, 0.5)
    assert log_variance == pytest.approx((np.log(3) / 2) ** 2)
    assert moving(np.arange(5.0), 2).mean.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_a_ratio_has_an_interval_where_there_are_windows_enough():
    rng = np.random.default_rng(0)
    low, high = rng.gamma(5, size=400), 2 * rng.gamma(5, size=400)
    ratio = ratio_of_means(high, low, 20)
    assert ratio.value == pytest.approx(high.mean() / low.mean())
    # of the logarithm, independent values: sqrt(1 / 5 / 400 * 2) = 0.032
    assert np.log(ratio.high95 / ratio.low95) == pytest.approx(2 * 1.96 * 0.032, rel=0.25)
    assert np.isnan(ratio_of_means(high[:99], low[:99], 20).low95)
    assert np.isfinite(ratio_of_means(high[:100], low[:100], 20).low95)


@pytest.mark.parametrize(
    "high, verdict",
    [
        (lambda base, other: 3 * other, "because its loss is higher: relative to its level it does not"),
        (lambda base, other: other + 2 * (other - 1), "The claim survives"),
        (lambda base, other: base, "cannot be told"),
        (lambda base, other: 1 + (other - 1) / 3, "The claim fails"),
    ],
)
def test_the_note_takes_the_level_of_the_loss_out(tmp_path, high, verdict):
    base, other = 1 + 0.1 * np.random.default_rng(1).uniform(-1, 1, size=(2, STEPS))
    (drawn,) = group_losses(Material([run_of(tmp_path, base, high(base, other))])).values()
    assert len(drawn.notes) == 1 and verdict in drawn.notes[0] and "over 100 steps" in drawn.notes[0]
    texts = [t.get_text() for axes in drawn.figure.axes for t in axes.get_yticklabels()]
    assert len(texts) > 5 and all(float(text) > 0 for text in texts)  # 0.01, not a formula
    row = drawn.table[-1]
    assert (row["step"], row["stage"], row["domain"]) == (STEPS, 1, "source")
    assert row["variance_low"] == pytest.approx(base[-100:].var())


def test_means_over_steps_and_runs_without_selection_are_said(tmp_path):
    rng = np.random.default_rng(0)
    good = run_of(tmp_path / "good", *rng.uniform(1, 2, size=(2, 40)), log_every=25)
    bad = write_run(tmp_path / "bad", [(1, 25, {"loss/class": 1.0})])
    (drawn,) = group_losses(Material([good, bad])).values()
    assert "fewer than 5 windows" not in drawn.notes[0] and "over 100 steps" in drawn.notes[0]
    assert "a mean over 25 steps" in drawn.notes[1] and "--config.log_every=1" in drawn.notes[1]
    assert "/bad" in drawn.notes[2]
    said = []
    assert figures.draw(["fig6"], Material([bad]), tmp_path, said.append).paths == []
    assert "Figure fig6 is left out" in said[0] and "selection=skewness --config.log_every=1" in said[0]
