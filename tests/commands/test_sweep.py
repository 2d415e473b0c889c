"""The command of a whole table, with a stand-in for launch/train.py that leaves a tiny run's folder."""

import os
import signal
import time

import pytest

from tests import processes
from tests.sweep.tiny_sweep import ROOT, started, write_files
from tests.tiers import cases, exhaustive


@pytest.fixture
def folder(tmp_path, tiny_runs):
    return write_files(tmp_path, tiny_runs)


def run(folder, *flags, table="table.py", **options):
    words = (folder / "launch" / "sweep.py", "--table", table, "--workdir=runs", *flags)
    return processes.run(*words, cwd=folder, PYTHONPATH=str(ROOT), **options)


def test_a_table_is_run_once_and_the_same_command_finds_it_done(folder):
    plan = run(folder, "--dry_run")
    assert (
        plan.returncode == 0
        and "8 runs:" in plan.stdout
        and "8 runs that are left, one at a time" in plan.stdout
    )
    assert started(folder) == [] and not (folder / "runs").exists()
    done = run(folder, "--seeds=1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(started(folder)) == 4 and "3/4 runs done; about" in done.stdout
    table = (folder / "runs" / "table.md").read_text()
    assert table in done.stdout and "4 of 4 runs are done" in table
    again = run(folder, "--seeds=1", "--rank_by=snd")
    assert again.returncode == 0 and len(started(folder)) == 4
    assert "Rows by snd at their headline checkpoint, mean of 2 runs each:" in again.stdout
    assert (folder / "runs" / "table.md").read_text() == table


@exhaustive
def test_what_failed_is_named_at_the_end_and_tried_again(folder):
    (folder / "mode").write_text("fail")
    done = run(folder, "--directions=c2b")
    assert done.returncode == 1, done.stderr[-2000:]
    assert "row=b,seed=1 failed: FloatingPointError: Stage 1, step 7: loss/class = nan." in done.stderr
    assert "3 of 4 runs are done" in (folder / "runs" / "table.md").read_text()
    (folder / "mode").write_text("")
    again = run(folder, "--directions=c2b")
    assert again.returncode == 0 and started(folder)[4:] == ["tiny,c2b,row=b,seed=1"]


@pytest.mark.parametrize("number", cases([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], signal.SIGINT))
def test_an_interrupted_sweep_lets_its_run_save_and_leaves_the_table(folder, number):
    (folder / "mode").write_text("wait")  # in runs of seed 1
    waits = folder / "runs" / "tiny,c2b,row=a,seed=1" / "waits"

    def interrupt(pid):
        end = time.monotonic() + 60
        while not waits.exists():
            os.kill(pid, 0)  # raises where it has ended
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(pid, number)

    done = run(folder, "--directions=c2b", meanwhile=interrupt)
    error = done.stderr
    assert done.returncode == 130 and "The same command goes on from here." in error, error[-2000:]
    assert (waits.parent / "saved").read_text() == "once" and len(started(folder)) == 3
    assert "2 of 4 runs are done" in (folder / "runs" / "table.md").read_text() and "Traceback" not in error


@exhaustive
def test_jobs_of_a_local_cluster(folder):
    done = run(folder, "--directions=c2b", "--seeds=1", "--cluster=local", "--parallel=2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 of 2 runs are done" in (folder / "runs" / "table.md").read_text()


@pytest.mark.parametrize(
    "table, flags, message",
    [
        ("absent.py:table1", (), "--table absent.py: no such file"),
        (f"{ROOT}/configs/tables.py:tabel1", (), "'tabel1' is not known. Did you mean 'table1'"),
        ("table.py:selection.keep_ration=1", (), "Row 'second', c2b: field 'selection.keep_ration=1'"),
        ("table.py", ("--field=log_every=0",), "Row 'first', c2b: config.log_every = 0"),
        ("table.py", ("--directions=c2x",), "Row 'first', c2x: config option direction"),
        ("table.py", ("--rank_by=dev",), "--rank_by 'dev': row 'first' records source_val, entropy"),
        ("table.py", ("--field=data.root=absent",), "config.data.root = 'absent': no such folder"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_run(folder, table, flags, message):
    done = run(folder, *flags, table=table)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert started(folder) == [] and not (folder / "runs").exists()
