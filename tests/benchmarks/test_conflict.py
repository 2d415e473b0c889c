"""Every way gives the same numbers; the protocol and its table with made-up contenders; once for real."""

import contextlib
import io
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import conflict, contenders, run
from benchmarks.conflict import compare, conflict_table, difference, summarize
from benchmarks.conflict_contenders import CONTENDERS, serve
from benchmarks.conflict_inputs import load, make_inputs, save
from benchmarks.contenders import Setting
from benchmarks.processes import Failed
from tests.processes import QUICK
from tests.tiers import exhaustive

TINY = Setting("dgcnn", batch=4, points=32)
BATCHES = 2
NARROW = {"encoder.embedding": 32, "encoder.layers": (8, 8), "encoder.k": 4, "pretext.min_share": 0.05}


@pytest.fixture(scope="module")
def inputs():
    name = "jax no selection"
    of = contenders.CONTENDERS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contenders.CONTENDERS, name, of._replace(fields={**of.fields, **NARROW}))
        yield make_inputs(TINY, BATCHES)


def served(name, inputs):
    answers = io.StringIO()
    serve(name, TINY, inputs, io.StringIO("warm-up\nstep\nvalues\nmemory\n"), answers)
    ready, empty, *rest = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert empty == {}
    return [ready, *rest]


@pytest.fixture(scope="module")
def measured(inputs):
    """What each contender answers, in this process."""
    return {name: served(name, inputs) for name, of in CONTENDERS.items() if of.build}


@exhaustive
def test_all_ways_to_the_same_numbers_agree(measured):
    values = {name: answers[2]["values"] for name, answers in measured.items()}
    for name, of in CONTENDERS.items():
        if name in values and of.tolerance is not None:
            loop = next(n for n in values if CONTENDERS[n].numbers == of.numbers)
            assert difference(values[loop], values[name]) < of.tolerance
    found = np.array(values["in chunks"])
    assert found.shape == (2, BATCHES * TINY.batch) and np.abs(found).max() <= 1
    assert np.std(found) > 1e-3 and difference(found, values["last layer"]) > 1e-3


@exhaustive
def test_a_contender_says_what_it_took(measured):
    for name, (ready, step, _, memory) in measured.items():
        assert ready["samples"] == TINY.batch * (1 if CONTENDERS[name].loops else BATCHES)
        assert ready["temporary_bytes"] > 0 and ("chunk" in ready) == (name in ("in chunks", "last layer"))
        assert step["seconds"] > 0 and memory["peak_bytes"] > 2**26


@exhaustive
def test_pytorch_agrees(inputs, measured):
    pytest.importorskip("torch")
    values = served("torch loop of single samples", inputs)[2]["values"]
    assert difference(measured["loop of single samples"][2]["values"], values) < 1e-3


def test_inputs_survive_the_file(inputs, tmp_path):
    save(tmp_path / "inputs.npz", inputs)
    stored = load(tmp_path / "inputs.npz")
    for old, new in zip(jax.tree.leaves(inputs), jax.tree.leaves(stored), strict=True):
        np.testing.assert_array_equal(old, new)
    assert type(stored.prepared) is type(inputs.prepared)


def test_the_difference_is_of_the_samples_that_both_have():
    assert difference([[1.0, 2.0], [10.0, 0.0]], [[1.0, 2.5, 9.0], [10.0, 1.0, 9.0]]) == 0.25


@pytest.fixture
def stage(monkeypatch):
    """Contenders whose samples take 1, 2, 3, … s; `given` is what they were asked."""
    stage = SimpleNamespace(fails=set(), given=None)
    seconds = {name: i for i, name in enumerate(CONTENDERS, start=1)}

    @contextlib.contextmanager
    def open_contender(name, setting, given, cache):
        if name in stage.fails:
            raise Failed(f"{name}: no.")
        stage.given = given
        samples = setting.batch * (1 if CONTENDERS[name].loops else given["batches"])
        yield SimpleNamespace(name=name, ready={"device": "cpu", "samples": samples})

    def ask(worker, command):
        return {
            "warm-up": {},
            "step": {"seconds": float(seconds[worker.name] * worker.ready["samples"])},
            "values": {"values": np.arange(2.0 * worker.ready["samples"]).reshape(2, -1).tolist()},
            "memory": {"peak_bytes": 2**30},
        }[command]

    monkeypatch.setattr(conflict, "open_contender", open_contender)
    monkeypatch.setattr(conflict, "ask", ask)
    monkeypatch.setattr("benchmarks.compare.ask", ask)
    monkeypatch.setattr(conflict, "run_module", lambda *_: None)
    return stage


def test_rates_are_per_sample_and_ratios_to_the_loop_for_the_same_numbers(stage):
    found = compare(Setting(batch=10), list(CONTENDERS), samples=100, rounds=4)["contenders"]
    assert stage.given["batches"] == 2  # 100 / 4 rounds / 10, rounded to even
    assert found["loop"]["samples"] == 10 and found["forward mode"]["samples"] == 20
    assert found["forward mode"]["rate"]["median"] == pytest.approx(1 / 3)
    faster = {name: record["faster"]["median"] for name, record in found.items()}
    assert faster["loop"] == faster["loop of single samples"] == 1
    assert faster["forward mode"] == pytest.approx(1 / 3) and faster["in chunks"] == pytest.approx(4 / 6)
    assert found["last layer"]["rank_correlation"] == pytest.approx([1, 1])


def test_who_fails_is_told_and_nobody_is_an_error(stage):
    stage.fails = {"forward mode", "in chunks"}
    record = compare(Setting(), list(CONTENDERS), samples=1, rounds=1)
    assert stage.given["batches"] == 1 and "forward mode" not in record["contenders"]
    assert "Not measured: forward mode: forward mode: no." in conflict_table(record)
    stage.fails = set(CONTENDERS)
    with pytest.raises(ValueError, match="No contender could run"):
        compare(Setting(), list(CONTENDERS), samples=1, rounds=1)


def made_record(values, seconds):
    return {"samples": 4, "seconds": seconds, "values": values, "peak_bytes": 2**30, "rate": {}}


def test_numbers_that_do_not_agree_are_told():
    found = {"loop": made_record([[1.0], [1.0]], [4.0]), "forward mode": made_record([[1.0], [1.1]], [2.0])}
    for record in found.values():
        record["rate"] = {"median": 1.0, "min": 1.0, "max": 1.0}
    summarize(found)
    last = conflict_table({"contenders": found, "failed": {}}).splitlines()[-1]
    cells = [cell.strip() for cell in last.split("|")[1:-1]]
    assert cells[1] == "forward mode" and cells[5] == "2.00 [2.00, 2.00]" and cells[-2:] == ["1.0e-01", "NO"]


@exhaustive
def test_a_real_process_answers(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    setting, names = Setting("pointnet", batch=2, points=32), ["loop of single samples", "in chunks"]
    record = compare(setting, names, samples=4, rounds=1)
    assert record["failed"] == {} and record["contenders"]["in chunks"]["samples"] == 4
    assert record["contenders"]["in chunks"]["difference"] < 1e-3


def test_without_torch_its_loop_is_left_out(monkeypatch, tmp_path, capsys):
    record = made_record([[1.0, 2.0], [2.0, 1.0]], [1.0]) | {
        "rate": {"median": 1.0, "min": 1.0, "max": 1.0},
        "device": "cpu",
    }
    asked = []

    def made_up(setting, names, samples, rounds):
        asked.append((setting.stage, names, samples, rounds))
        found = {name: dict(record) for name in names}
        summarize(found)
        return {"contenders": found, "failed": {}}

    monkeypatch.setattr(run, "has_torch", lambda: False)
    monkeypatch.setattr(conflict, "compare", made_up)
    text = run.run_conflict(run.Asked(Setting(stage=2), [], "", 3, tmp_path), 50)
    assert asked == [(1, [name for name in CONTENDERS if "torch" not in name], 50, 3)]
    assert "pip install torch" in capsys.readouterr().err
    assert (tmp_path / "conflict.md").read_text() in text and "dgcnn without T-Net, 16 samples" in text
    assert json.loads((tmp_path / "conflict.json").read_text())["measured"]["failed"] == {}
