import json
import os
import shutil

import pytest

from smdsb_jax.report.runs import differing_fields, find_runs, runs_table


@pytest.fixture
def folder(tiny_run, tmp_path):
    """A finished run, the same at another seed and rate that stands at step 4, and one not begun."""
    for name in ("a", "b/c"):
        shutil.copytree(tiny_run, tmp_path / name, ignore=shutil.ignore_patterns("checkpoints", "*.png"))
    path = tmp_path / "b" / "c"
    config = json.loads((path / "config.json").read_text())
    config |= {"seed": 7, "optimizer.learning_rate": 0.5}
    (path / "config.json").write_text(json.dumps(config))
    lines = (path / "metrics.jsonl").read_text().splitlines(True)
    (path / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 4))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text(json.dumps(config))
    return tmp_path


def names(table):
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_runs_are_told_by_what_differs_how_far_they_are_and_their_scores(folder):
    a, c, d = runs = find_runs(folder)
    assert [run.name for run in runs] == ["a", "b/c", "d"]
    assert differing_fields(runs) == ["optimizer.learning_rate", "seed"]
    records = [json.loads(line) for line in (folder / "a" / "metrics.jsonl").read_text().splitlines()]
    last = [record for record in records if "target_test/accuracy" in record][-1]
    assert a.scores["target_test/accuracy"] == last["target_test/accuracy"]
    total = sum(json.loads((folder / "a" / "config.json").read_text())[f"stage{s}.steps"] for s in (1, 2))
    assert (a.state, c.state, d.state) == ("finished", f"step 4 of {total}", "not begun") and d.scores == {}


def test_it_trained_from_the_start_to_the_last_write_of_each_event_file(folder):
    events = folder / "a" / "tensorboard"
    for path in events.iterdir():
        path.unlink()
    for begun, ended in ((1000, 1060), (2000, 2030)):
        path = events / f"events.out.tfevents.{begun}.host.0.0"
        path.touch()
        os.utime(path, (ended, ended))
    assert find_runs(folder)[0].seconds == 90


def test_without_tensorboards_files_the_minutes_are_not_known(folder):
    shutil.rmtree(folder / "a" / "tensorboard")
    runs = find_runs(folder)
    assert runs[0].seconds is None and runs_table(runs).splitlines()[2].split("|")[-2].strip() == ""


def test_the_table_sorts_by_any_column(folder):
    runs = find_runs(folder)
    first = [line.split("|")[1].strip() for line in runs_table(runs, "target_test/accuracy").splitlines()[2:]]
    assert first[-1] == "d"  # without a value last
    rates = [
        line.split("|")[1].strip() for line in runs_table(runs, "optimizer.learning_rate").splitlines()[2:]
    ]
    assert rates == ["b/c", "d", "a"]
    with pytest.raises(ValueError, match=r"--sort=sed: no such column\. Did you mean 'seed'"):
        runs_table(runs, "sed")
