import io
import json
import math
import os
import re
import resource

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from smdsb_jax.run.records import open_reporter, read_records


class Terminal(io.StringIO):
    def isatty(self):
        return True


def log(workdir, first, last, resumed_from=(0, 0), stage_1_ends=4):
    """A run that reports each of its steps `first` … `last`."""
    with open_reporter(workdir, resumed_from) as reporter:
        for step in range(first, last + 1):
            stage = 1 if step <= stage_1_ends else 2
            reporter.scalars(stage, step, {"loss/class": 1 / step, "target/accuracy": math.nan})


def test_records_are_read_by_pandas(tmp_path):
    log(tmp_path, 1, 6)
    table = pd.read_json(tmp_path / "metrics.jsonl", lines=True)
    assert list(table.columns) == ["stage", "step", "loss/class", "target/accuracy"]
    assert list(table["stage"]) == [1, 1, 1, 1, 2, 2]
    np.testing.assert_allclose(table["loss/class"], 1 / np.arange(1, 7))
    assert table["target/accuracy"].isna().all()
    assert read_records(tmp_path / "metrics.jsonl")[1] == {
        "stage": 1, "step": 2, "loss/class": 0.5, "target/accuracy": None,
    }  # fmt: skip


def test_numbers_of_any_kind_and_infinities_make_strict_json(tmp_path):
    with open_reporter(tmp_path) as reporter:
        reporter.scalars(1, 1, {"a": np.float32(0.5), "b": np.float64("inf"), "c": jnp.array(3)})

    def refuse(constant):
        raise AssertionError(constant)

    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=refuse) == {"stage": 1, "step": 1, "a": 0.5, "b": None, "c": 3.0}


@pytest.mark.parametrize(
    "killed_at, saved", [(3, (1, 2)), (6, (1, 4)), (7, (2, 6)), (5, (2, 5)), (3, (0, 0))]
)
def test_a_resumed_run_leaves_the_records_of_an_uninterrupted_one(tmp_path, killed_at, saved):
    log(tmp_path / "whole", 1, 8)
    log(tmp_path / "resumed", 1, killed_at)
    log(tmp_path / "resumed", saved[1] + 1, 8, resumed_from=saved)
    whole, resumed = ((tmp_path / run / "metrics.jsonl").read_bytes() for run in ("whole", "resumed"))
    assert whole == resumed
    assert sorted(file.name for file in (tmp_path / "resumed").iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_what_opens_stage_2_is_beyond_a_checkpoint_at_the_end_of_stage_1(tmp_path):
    with open_reporter(tmp_path) as reporter:
        reporter.scalars(1, 4, {"loss/class": 1.0})
        reporter.scalars(2, 4, {"pseudo_labels/kept": 0.5})
    with open_reporter(tmp_path, (1, 4)):
        pass
    assert [r["stage"] for r in read_records(tmp_path / "metrics.jsonl")] == [1]


@pytest.mark.parametrize("tail", [b'{"stage": 1, "step": 4, "loss/cl', b"\0\0\0\0", b"\xff\n", b"12\n"])
def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path, tail):
    log(tmp_path, 1, 8)
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    log(tmp_path, 1, 3)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    assert [r["step"] for r in read_records(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    log(tmp_path, 4, 8, resumed_from=(1, 3))
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_each_record_is_on_disk_at_once(tmp_path):
    with open_reporter(tmp_path) as reporter:
        reporter.scalars(1, 1, {"loss/class": 1.0})
        assert len(read_records(tmp_path / "metrics.jsonl")) == 1  # what SIGKILL would leave


def test_plain_lines_show_stage_step_rate_and_time_left(tmp_path, capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    with open_reporter(tmp_path) as reporter:
        now = 100.0  # compilation took 100 s
        reporter.progress(1, 1, 101, {"loss/class": 2.0})
        now = 110.0
        reporter.progress(1, 21, 101, {"loss/class": 1.23456})
        reporter.say("evaluated")
        now = 210.0
        reporter.progress(2, 40, 50, {})
        now = 214.0
        reporter.progress(2, 41, 50, {})
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines)
    assert [line[21:] for line in lines] == [
        "stage 1  step 1/101 (1 %)  ? steps/s  ? left, loss/class 2",
        "stage 1  step 21/101 (21 %)   2.00 steps/s  00:40 left, loss/class 1.235",
        "evaluated",
        "stage 2  step 40/50 (80 %)  ? steps/s  ? left",
        "stage 2  step 41/50 (82 %)   0.25 steps/s  00:36 left",
    ]


def test_a_terminal_shows_one_bar_per_stage_and_lines_above_it(tmp_path, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "100")
    with open_reporter(tmp_path) as reporter:
        reporter.progress(1, 1, 4, {"loss/class": 2.0})
        reporter.progress(1, 4, 4, {"loss/class": 1.0})
        reporter.say("evaluated")
        reporter.progress(2, 3, 5, {})
        reporter.say("still running")
    shown = stream.getvalue()
    assert "1/4" in shown and "4/4" in shown and "loss/class 1" in shown and "steps/s" in shown
    assert "\nevaluated\n" in shown  # below the complete bar of stage 1
    assert "\rstill running\n" in shown  # on the cleared line of the bar of stage 2
    assert "stage 2:  60%" in shown and shown.endswith("\n")


def test_a_full_disk_under_the_records_is_told_with_their_name(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # as a disk that holds no more of a file
    try:
        with pytest.raises(OSError, match=r"metrics\.jsonl"), open_reporter(tmp_path, tracker="none") as to:
            to.scalars(1, 1, {"a" * 2**20: 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_terminal_without_a_size_shows_plain_lines(tmp_path, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback: os.terminal_size(fallback))
    with open_reporter(tmp_path) as reporter:
        reporter.progress(1, 1, 4, {})
    assert stream.getvalue() == "stage 1  step 1/4 (25 %)  ? steps/s  ? left\n"
