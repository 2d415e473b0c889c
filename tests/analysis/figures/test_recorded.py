import json

import numpy as np

from smdsb_jax.analysis.figures.recorded import recorded, run_name


def write_run(workdir, records, **config):
    """What a figure reads of a run: its records, (stage, step, values) each, and its flat configuration."""
    workdir.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"stage": stage, "step": step, **values}) for stage, step, values in records]
    (workdir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    stages = {"stages": (1, 2), "stage1.steps": 0, "stage2.steps": 0}  # which each run has written
    (workdir / "config.json").write_text(json.dumps(stages | config))
    return workdir


def test_curves_are_of_one_prefix_by_stage_and_whole(tmp_path):
    records = [
        (1, 2, {"loss/class": 1.0}), (1, 2, {"watch/a": 0.5, "watch/b": None}), (1, 4, {"watch/a": 0.25}),
        (2, 6, {"watch/a": 1}),
    ]  # fmt: skip
    found = recorded(write_run(tmp_path / "runs" / "one", records), "watch/")
    assert {s: c.step.tolist() for s, c in found.items()} == {1: [2], 2: [6]}  # step 4 lacks b
    assert found[1].value["a"].tolist() == [0.5] and np.isnan(found[1].value["b"]).all()
    assert recorded(tmp_path, "watch/") == {} and run_name(tmp_path / "runs" / "one") == "runs/one"
