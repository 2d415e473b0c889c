"""A hundred of the cases of tests/bad_input.py, and some through the commands' own processes."""

import logging
import time

import pytest

from tests import bad_input
from tests.bad_input import GOOD, KINDS, Case, campaign, judge, told_well
from tests.processes import run
from tests.tiers import cases, exhaustive

# how ml-collections loads the file, and what laspy and plyfile say of damaged bytes
pytestmark = pytest.mark.filterwarnings("ignore")


def assert_good(found, count):
    assert sum(found.values()) == count and {outcome for _, outcome in found} <= set(GOOD), found
    assert {kind for kind, _ in found} == set(KINDS)


def test_a_hundred_are_refused_in_one_line_or_right(tmp_path):
    assert_good(campaign(100, 0, out=tmp_path), 100)


@exhaustive
def test_a_thousand_are_refused_in_one_line_or_right(tmp_path):
    assert_good(campaign(1000, 1, out=tmp_path), 1000)


WRONG = {  # flags of a command, and what its one line names
    "a section": ("train.py --config=configs/embedded.py:c2s,encoder=5 --workdir={}/run", "encoder"),
    "huge": ("train.py --config=configs/embedded.py --config.encoder.embedding=9223372036854775808 "
             "--workdir={}/run", "config.encoder.embedding"),
    "points": ("train.py --config=configs/embedded.py --config.data.points=16777216 --workdir={}/run",
               "config.data.points"),
    "clouds": ("train.py --config=configs/embedded.py --config.eval_batch_size=1048576 --workdir={}/run",
               "config.eval_batch_size"),
    "a line more": ("train.py --config=configs/embedded.py --workdir={}/a\nb", "--workdir"),
    "no run": ("evaluate.py --workdir={}/run --stage=3", "--stage"),
    "no clouds": ("predict.py --workdir={}/run {}/a.npy", "/run"),
    "a pattern": ("analyze.py --workdir={}/* --samples=0", "--samples"),
    "a table": ("sweep.py --table=configs/tables.py:tabel1 --workdir={}/runs", "tabel1"),
    "seeds": ("sweep.py --table=configs/tables.py:alpha --workdir={}/runs --seeds=1000000000", "--seeds"),
    "a row": ("sweep.py --table=configs/tables.py:alpha --workdir={}/runs --field=seed=x", "seed"),
    "a number": ("prepare_data.py --data={} --mesh_points=many", "--mesh_points"),
    "a folder": ("simulate_scans.py --data={}/none --out={}/out", "--data"),
    "a batch": ("benchmark.py --batch=1 --out={}/out", "--batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", cases(WRONG, "clouds", "a number"))
def test_commands_say_one_line_and_write_nothing(case, tmp_path):
    words, named = WRONG[case]
    script, *flags = words.replace("{}", str(tmp_path)).split(" ")
    done = run(script, *flags)
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1 and named in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def of(attempt, **fields):
    return Case(**{"kind": "file", "what": "", "names": ("a.npy",), "attempt": attempt} | fields)


def test_what_is_bad_is_told(tmp_path, monkeypatch):
    def raising(error):
        def attempt(folder):
            raise error

        return attempt

    def outcome(attempt):
        return judge(of(attempt), tmp_path)[0]

    assert outcome(lambda folder: None) == "accepted"
    assert outcome(raising(ValueError("a.npy: is empty."))) == "refused"
    assert outcome(raising(OSError("is empty."))) == "unnamed"
    assert outcome(raising(KeyError("a.npy"))) == "another error"
    assert outcome(lambda folder: logging.warning("x")) == "logged"
    assert outcome(lambda folder: (folder / "x").write_text("1")) == "written"
    assert outcome(lambda folder: bytearray(b"1" * bad_input.BYTES * 2)) == "memory"
    monkeypatch.setattr(bad_input, "HANGS", 1)
    assert outcome(lambda folder: time.sleep(3)) == "hangs"
    monkeypatch.setattr(bad_input, "SECONDS", -1)
    assert outcome(raising(ValueError("a.npy: is empty."))) == "slow"


@pytest.mark.parametrize(
    "said, outcome",
    [
        ("a: b", "refused"), ("a\nb", "several lines"), ("a\x1b", "several lines"), ("", "several lines"),
        ("a" * 5000, "endless"), ("b", "unnamed"),
    ],
)  # fmt: skip
def test_a_good_error_is_one_line_that_names(said, outcome):
    assert told_well(said, ("a",)) == outcome
