"""The protocol, with made-up contenders in place of processes."""

import contextlib
from types import SimpleNamespace

import pytest

from benchmarks import compare as module
from benchmarks.compare import compare
from benchmarks.contenders import Setting
from benchmarks.processes import Failed


@pytest.fixture
def stage(monkeypatch):
    """Contenders a, b and c: 2 s, 1 s and 4 s a step. `log` is the order of their steps."""
    stage = SimpleNamespace(
        log=[], seconds={"a": 2.0, "b": 1.0, "c": 4.0}, dies=set(), fails=set(), precision={}, open=[]
    )

    @contextlib.contextmanager
    def open_worker(name, setting, cache):
        if name in stage.fails:
            raise Failed(f"{name}: no.")
        stage.open.append(name)
        ready = {
            "precision": stage.precision.get(name, "float32"), "device": "cpu", "free_bytes": 2**30,
            "resident_bytes": 2**20,
            "seconds": {"first_step": 9.0},
        }  # fmt: skip
        yield SimpleNamespace(name=name, ready=ready)
        stage.open.remove(name)

    def ask(worker, command):
        if command == "memory":
            return {"peak_bytes": 2**30}
        stage.log.append(worker.name)
        if worker.name in stage.dies and len(stage.open) > 1:
            raise Failed(f"{worker.name}: killed.")
        return {"seconds": stage.seconds[worker.name], "idle": 10.0, "cpu_while_idle": 1.0, "metrics": {}}

    monkeypatch.setattr(module, "open_worker", open_worker)
    monkeypatch.setattr(module, "ask", ask)
    return stage


def test_each_runs_alone_and_then_all_in_rotated_order(stage):
    found = compare(Setting(batch=16), ["a", "b", "c"], "a", rounds=4)
    assert stage.log[:9] == list("aaabbbccc")
    assert stage.log[9:] == [*"abc", *"bca", *"cab", *"abc"]
    ratios = {name: record["ratio"]["median"] for name, record in found["contenders"].items()}
    assert ratios == {"a": 1.0, "b": 2.0, "c": 0.5}
    assert found["contenders"]["b"]["clouds_per_second"] == 32
    assert found["contenders"]["b"]["cores_while_idle"] == pytest.approx(0.1)
    assert stage.open == [] and found["failed"] == {}


def test_who_fails_is_told_and_the_others_are_measured(stage):
    stage.fails, stage.dies = {"a"}, {"b"}
    found = compare(Setting(), ["a", "b", "c"], "a", rounds=2)
    assert list(found["contenders"]) == ["c"] and found["baseline"] == "c"
    assert found["failed"] == {"a": "a: no.", "b": "beside the others: b: killed."}
    assert len(found["contenders"]["c"]["seconds"]) == 2 and stage.open == []


def test_nobody_left_is_an_error(stage):
    stage.fails = {"a", "b"}
    with pytest.raises(ValueError, match="No contender could run"):
        compare(Setting(), ["a", "b"], "a", rounds=2)


def test_different_precisions_are_refused_before_the_comparison(stage):
    stage.precision = {"b": "tensorfloat32"}
    with pytest.raises(ValueError, match="differ in precision"):
        compare(Setting(), ["a", "b"], "a", rounds=2)
    assert stage.log == list("aabb")
