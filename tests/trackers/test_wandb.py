import json

import pytest

from smdsb_jax.run.records import open_reporter, read_records
from tests.tiers import exhaustive
from tests.trackers.fakes import fake_wandb

CONFIG = {"seed": 0, "selection.keep_ratio": 0.7, "stages": (1, 2)}


def log(workdir, first, last, resumed_from=(0, 0)):
    with open_reporter(workdir, resumed_from, "wandb", CONFIG) as reporter:
        for step in range(first, last + 1):
            reporter.scalars(1, step, {"loss/class": 1 / step})


def test_a_run_is_begun_with_its_configuration_and_gets_the_records(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_NAME", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    calls = fake_wandb(monkeypatch)
    log(tmp_path, 1, 2)
    (name, options), *rest = calls
    assert name == "init" and options["config"] == CONFIG and options["dir"] == str(tmp_path)
    assert (options["project"], options["name"]) == ("mine", tmp_path.name)
    assert options["settings"]["console"] == "off" and options["settings"]["finish_timeout"] > 0
    assert rest == [
        ("define_metric", ("*",)),  # by the field step, which may go back; wandb's own may not
        ("log", ({"stage": 1, "step": 1, "loss/class": 1.0},)),
        ("log", ({"stage": 1, "step": 2, "loss/class": 0.5},)),
        ("finish", {"exit_code": 0}),
    ]
    assert "wandb: run run1, https://host/run" in capsys.readouterr().out


def test_a_resumed_training_goes_on_with_the_same_run_and_logs_its_configuration_once(tmp_path, monkeypatch):
    calls = fake_wandb(monkeypatch)
    log(tmp_path, 1, 3)
    log(tmp_path, 3, 4, resumed_from=(1, 2))
    begun = [options for name, options in calls if name == "init"]
    assert [(o["id"], o["resume"], o["config"]) for o in begun] == [
        (None, None, CONFIG),
        ("run1", "allow", None),
    ]
    log(tmp_path, 1, 1)  # from its beginning it is another run
    log(tmp_path, 2, 2, resumed_from=(1, 1))
    assert [options["id"] for name, options in calls if name == "init"][2:] == [None, "run3"]


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_an_error_of_wandb_is_one_line_and_the_training_goes_on(fails, tmp_path, monkeypatch, capsys):
    calls = fake_wandb(monkeypatch, fails=[fails])
    log(tmp_path, 1, 3)
    assert [r["step"] for r in read_records(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    said = capsys.readouterr().out.splitlines()
    (line,) = [line for line in said if "Warning" in line]
    assert "config.tracker = 'wandb': tracking ends here" in line
    assert line.endswith(f"ConnectionError: no network\\nfor {fails}")
    assert sum(name == fails for name, _ in calls) == 1  # it is left alone then
    assert (tmp_path / "tracker.json").exists() == (fails != "init")


def test_a_training_that_fails_is_a_failed_run(tmp_path, monkeypatch):
    calls = fake_wandb(monkeypatch, "offline")
    with pytest.raises(KeyError), open_reporter(tmp_path, tracker="wandb"):
        raise KeyError
    assert calls[-1] == ("finish", {"exit_code": 1})


def chunks(data):
    """What wandb wrote, by LevelDB's log format: blocks of parts, each a CRC, length, which part, data."""
    at, whole = 7, b""  # after the file's header
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # a block's rest holds no part
            at += 32768 - at % 32768
        length, part = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # all of it, or its last
            yield whole
            whole = b""


@exhaustive
def test_the_real_one_offline(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    log(tmp_path, 1, 3)
    log(tmp_path, 3, 4, resumed_from=(1, 2))
    assert "offline, below" in capsys.readouterr().out
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    kept = json.loads((tmp_path / "tracker.json").read_text())["wandb"]
    rows, configurations = [], []
    for folder in folders:
        for data in chunks((folder / f"run-{kept}.wandb").read_bytes()):
            record = Record.FromString(data)
            if record.HasField("history"):
                items = record.history.item
                rows.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in items})
            if record.HasField("run"):
                assert record.run.run_id == kept and record.run.project == "smdsb_jax"
                configurations.append({item.key: item.value_json for item in record.run.config.update})
    assert len(folders) == 2 and [row["step"] for row in rows] == [1, 2, 3, 3, 4]
    assert rows[1]["loss/class"] == 0.5 and rows[1]["stage"] == 1
    assert configurations[0]["selection.keep_ratio"] == "0.7"
