import numpy as np
import pytest

from smdsb_jax.analysis import figures
from smdsb_jax.analysis.figures import Material
from smdsb_jax.analysis.figures.cosines import cosines, exponential_mean, slope
from tests.analysis.figures.test_recorded import write_run


def test_the_exponential_mean_weighs_by_age_and_the_slope_is_per_1000_steps():
    values = np.array([1.0, np.nan, 4.0])
    assert exponential_mean(values, 2.0).tolist() == [1, 1, (4 + 1 / 4) / (1 + 1 / 4)]
    assert exponential_mean(values, 1.0).tolist()[2] == 4  # no memory at all
    steps = np.array([100, 200, 400])
    assert slope(steps, 3.0 - 0.002 * steps) == pytest.approx(-2)
    assert slope(steps, np.array([1, np.nan, 2.0])) == pytest.approx(10 / 3) and np.isnan(
        slope(steps[:1], values[:1])
    )


def test_every_curve_is_drawn_and_told_and_the_oracle_divided_by_the_noise(tmp_path):
    total, ceiling = np.linspace(0.5, -0.25, 6), np.full(6, 0.25)
    records = [
        (stage, 600 * (stage - 1) + 100 * (i + 1), {
            "watch/cos_total_oracle": total[i], "watch/cos_class_oracle": 0.1,
            "watch/cos_oracle_oracle": ceiling[i] * (stage == 1),
            **({"watch/cos_class_pretext": 0.2, "watch/cos_pretext_oracle": -0.1} if stage == 1 else {}),
        })
        for stage in (1, 2) for i in range(6)
    ]  # fmt: skip
    (drawn,) = cosines(Material([write_run(tmp_path, records, **{"stage1.steps": 650})])).values()
    notes = "\n".join(drawn.notes)
    mean = total[4:].mean()
    assert f"stage 1, both together, oracle: mean of the last third {mean:+.3f}, slope -1.500 per" in notes
    assert "33 % of 6 below 0" in notes and "stage 2, pretext" not in notes
    assert f"by the noise ceiling: both together, oracle {4 * mean:+.2f}, class, oracle +0.40" in notes
    assert f"takes, both together, oracle {2 * mean:+.2f}" in notes
    assert "stage 2: two oracles do not agree" in notes
    assert len(drawn.table) == 6 * 5 + 6 * 3
    assert [line for line in drawn.figure.axes[0].lines if list(line.get_xdata()) == [650, 650]]
    assert len(drawn.figure.legends[0].get_texts()) == 5


def test_a_run_that_was_not_watched_says_how_to(tmp_path):
    said = []
    run = write_run(tmp_path / "run", [(1, 1, {"loss/class": 1.0})])
    assert figures.draw(["fig4"], Material([run]), tmp_path, said.append).paths == []
    assert "no gradients were watched in" in said[0] and "smdsb train --watch=100" in said[0]
