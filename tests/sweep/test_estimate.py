from pathlib import Path

import pytest

from smdsb_jax.sweep.estimate import estimate, measure_step
from smdsb_jax.sweep.grid import Run
from smdsb_jax.sweep.plan import Planned
from tests.tiny_run import tiny_config


def planned(row, progress="new", **fields):
    config = tiny_config(**fields)
    return Planned(Run(row, "c2s", 0, "file", "", (), Path("runs")), config, progress)


def test_what_is_left_counts_by_the_measured_step_its_steps_and_its_points():
    config = tiny_config()
    steps, points = config.stage1.steps + config.stage2.steps, config.data.points
    plan = [planned("done", "done"), planned("a"), planned("b", data__points=2 * points)]
    asked = []
    line = estimate(plan, lambda config: asked.append(config.data.points) or 10.0)
    assert asked == [points]  # one of an encoder
    assert f"About {round(steps * 10 * 3 / 60)} min for the 2 runs" in line and "10 s (a)" in line
    assert estimate(plan[:1]) == "Nothing is left to do."


def test_a_step_is_measured():
    assert 0 < measure_step(tiny_config()) < 60


def test_data_that_are_not_there_are_told():
    config = tiny_config()
    config.data.source = "nowhere"
    with pytest.raises(ValueError, match="nowhere"):
        measure_step(config)
