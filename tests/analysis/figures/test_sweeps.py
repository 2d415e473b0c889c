import json
from pathlib import Path

import numpy as np
import pytest

from smdsb_jax.analysis.figures import FIGURES, Material
from smdsb_jax.config import flatten
from smdsb_jax.defaults import default_config

STEPS = (10, 20, 40, 80)


def run_of(folder, direction="c2s", seed=0, **fields):
    """A finished run's records: the score grows with the kept share and the step."""
    folder.mkdir()
    config = default_config()
    config.seed, config.data.target = seed, {"c2s": "scan", "c2b": "blend"}[direction]
    config.stages, config.stage1.steps = (1,), STEPS[-1]
    flat = flatten(config) | {name.replace("__", "."): value for name, value in fields.items()}
    (folder / "config.json").write_text(json.dumps(flat))
    score = lambda step: 0.4 + 0.1 * flat["selection.keep_ratio"] + 0.001 * step + 0.02 * seed  # noqa: E731
    records = [{"stage": 1, "step": step, "target_test/accuracy": score(step)} for step in STEPS]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


@pytest.fixture
def runs(tmp_path):
    return [
        run_of(tmp_path / f"{d}{seed}{ratio}", d, seed, selection__keep_ratio=ratio)
        for d in ("c2s", "c2b") for seed in (0, 1) for ratio in (0.5, 0.7, 1.0)
    ]  # fmt: skip


def test_the_kept_share_has_a_line_per_direction_of_means_over_seeds(runs):
    (found,) = FIGURES["fig10"].draw(Material(runs)).values()
    lines = found.figure.axes[0].containers
    assert [line.get_label() for line in lines] == ["catalog → scan", "catalog → blend"]
    expected = [[0.5, 54.0], [0.7, 56.0], [1.0, 59.0]]
    np.testing.assert_allclose(lines[0].lines[0].get_xydata(), expected)
    (up,) = lines[0].lines[2][0].get_segments()[:1]
    np.testing.assert_allclose(up[1][1] - up[0][1], 2 * np.sqrt(2))  # ± the standard deviation of two seeds
    assert found.notes[0] == "catalog → scan: from 54.0 % at 0.5 to 59.0 % at 1."
    assert len(found.table) == 12 and {row["step"] for row in found.table} == {80}


def test_over_training_each_share_of_the_steps_is_the_last_evaluation_up_to_it(runs):
    (found,) = FIGURES["fig9"].draw(Material(runs)).values()
    assert [axes.get_title(loc="left") for axes in found.figure.axes] == ["catalog → scan", "catalog → blend"]
    of = {(row["share"], row["step"]) for row in found.table}
    assert of == {(0.125, 10), (0.25, 20), (0.5, 40), (1.0, 80)}
    assert found.figure.axes[0].containers[0].get_label() == "0.125 of the steps"


def test_unfinished_runs_are_left_out_of_what_is_final_and_counted(runs):
    path = runs[0] / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    (found,) = FIGURES["fig10"].draw(Material(runs)).values()
    assert found.notes[0] == "1 unfinished runs are left out." and len(found.table) == 11
    (over_training,) = FIGURES["fig9"].draw(Material(runs)).values()
    assert {row["step"] for row in over_training.table if row["share"] == 1.0} == {20, 80}


def test_runs_of_other_stages_are_another_sweep_and_what_is_no_run_is_named(tmp_path, runs):
    longer = [run_of(tmp_path / f"l{k}", selection__keep_ratio=k, stages=(1, 2)) for k in (0.5, 0.7)]
    with pytest.raises(ValueError, match="none of the runs is finished"):
        FIGURES["fig10"].draw(Material(longer))
    assert len(FIGURES["fig9"].draw(Material([*runs, *longer]))) == 2
    with pytest.raises(
        ValueError, match="tests/config.json: not the configuration of .* leave this folder out"
    ):
        FIGURES["fig10"].draw(Material([Path("tests")]))


def test_alpha_is_drawn_apart_from_runs_with_other_settings(tmp_path):
    of_alpha = [run_of(tmp_path / f"a{a}", saliency__alpha=a) for a in (0.0, 1.0)]
    other = run_of(tmp_path / "other", saliency__alpha=2.0, pretext__weight=0.5)
    (found,) = FIGURES["fig8"].draw(Material([*of_alpha, other])).values()
    assert sorted(row["alpha"] for row in found.table) == [0.0, 1.0]


@pytest.mark.parametrize("name, table", [("fig8", "alpha"), ("fig9", "keep_ratio"), ("fig10", "keep_ratio")])
def test_a_missing_sweep_is_answered_with_its_command(tmp_path, name, table):
    with pytest.raises(ValueError, match=f"smdsb sweep --table configs/tables.py:{table} --workdir"):
        FIGURES[name].draw(Material([run_of(tmp_path / "one")]))
