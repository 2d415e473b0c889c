import json
from pathlib import Path

import pytest

from smdsb_jax.trackers.base import Start, keep_run, kept_run


def start(workdir, resumed_from=(1, 2)):
    return Start(Path(workdir), resumed_from, {}, print)


def test_the_run_of_each_tracker_is_kept_for_a_resumed_training(tmp_path):
    assert kept_run(start(tmp_path), "wandb") == ""
    keep_run(start(tmp_path), "wandb", "a-1")
    keep_run(start(tmp_path), "mlflow", "b_2")
    assert json.loads((tmp_path / "tracker.json").read_text()) == {"wandb": "a-1", "mlflow": "b_2"}
    assert kept_run(start(tmp_path), "wandb") == "a-1"
    assert kept_run(start(tmp_path, (0, 0)), "wandb") == ""  # a fresh run


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"wandb": 1}', '{"wandb": "../a"}', '{"wandb": ""}', "\0"])
def test_a_damaged_file_begins_another_run(text, tmp_path):
    (tmp_path / "tracker.json").write_text(text)
    assert kept_run(start(tmp_path), "wandb") == ""
    keep_run(start(tmp_path), "wandb", "a1")
    assert kept_run(start(tmp_path), "wandb") == "a1"
