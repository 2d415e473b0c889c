"""What holds for every tracker, and how one is chosen."""

import sys

import pytest

from smdsb_jax.config import resolve
from smdsb_jax.run import loop
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.run.records import read_records
from smdsb_jax.trackers import TRACKERS
from tests.shared import step_that_moves_all
from tests.tiny_run import tiny_config
from tests.trackers.fakes import fake_mlflow, fake_wandb


def test_a_wrong_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"config.tracker = 'wandbb' is not known. Did you mean 'wandb'\?"):
        resolve(tiny_config(tracker="wandbb"))


@pytest.mark.parametrize("name", [name for name, entry in TRACKERS.items() if entry.modules])
def test_one_that_is_not_installed_is_refused_before_any_work(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, TRACKERS[name].modules[0], None)  # as one that is not there
    with pytest.raises(ValueError) as refused:
        train_and_evaluate(tiny_config(tracker=name), tmp_path / "run")
    assert str(refused.value) == f"config.tracker = {name!r} needs: pip install {TRACKERS[name].install}"
    assert not (tmp_path / "run").exists()


def test_a_run_may_go_on_with_another_and_its_records_stay_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_that_moves_all)
    fields = {"stages": (1,), "validators__names": (), "keep_checkpoints": 9}
    train_and_evaluate(tiny_config(**fields), tmp_path)
    records, evaluated = (tmp_path / "metrics.jsonl").read_bytes(), 3
    fake_mlflow(monkeypatch)
    calls = fake_wandb(monkeypatch)
    for tracker in ("none", "mlflow", "wandb"):
        train_and_evaluate(tiny_config(tracker=tracker, **fields), tmp_path, from_step=evaluated)
        assert (tmp_path / "metrics.jsonl").read_bytes() == records
    assert calls[0][1]["config"]["optimizer.learning_rate"] == 1e-3  # flat, and of this run
    logged = [arguments[0] for name, arguments in calls if name == "log"]
    expected = [r for r in read_records(tmp_path / "metrics.jsonl") if r["step"] > evaluated]
    assert logged == expected
