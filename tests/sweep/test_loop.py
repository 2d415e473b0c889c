import shutil
import threading
from concurrent.futures import Future

import pytest

from smdsb_jax.sweep.grid import grid_runs
from smdsb_jax.sweep.loop import Start, here, sweep
from smdsb_jax.sweep.plan import make_plan
from tests.sweep.tiny_sweep import started, tiny_grid, unpadded, write_files


@pytest.fixture
def setup(tmp_path, tiny_runs):
    folder = write_files(tmp_path, tiny_runs)
    grid = tiny_grid(directions=("c2b",))
    return grid, make_plan(grid_runs(grid, folder / "runs", folder)), folder / "runs", tiny_runs


def finished(value="", error=None):
    future = Future()
    if error:
        future.set_exception(error)
    else:
        future.set_result(value)
    return future


def test_tables_are_written_after_each_run_and_failures_do_not_stop_the_others(setup):
    grid, plan, workdir, tiny_runs = setup
    tables, said = [], []

    def submit(run):
        tables.append((workdir / "table.md").read_text())
        if (run.row, run.seed) == ("second", 0):
            return finished("loss = nan")
        if (run.row, run.seed) == ("second", 1):
            return finished(error=RuntimeError("node\nlost"))
        shutil.copytree(tiny_runs[run.seed], run.workdir, dirs_exist_ok=True)
        return finished()

    outcome = sweep(grid, plan, workdir, Start(submit, lambda _: None), 1, threading.Event(), said.append)
    assert [text.split(" runs are done")[0][-6:] for text in tables] == [
        "0 of 4",
        "1 of 4",
        "1 of 4",
        "2 of 4",
    ]
    assert {folder.name: error for folder, error in outcome.failed.items()} == {
        "tiny,c2b,row=b,seed=0": "loss = nan",
        "tiny,c2b,row=b,seed=1": "lost",
    }
    assert not outcome.stopped and "failed: loss = nan" in "\n".join(said)
    assert "| second | \u2013 | \u2013 |" in unpadded((workdir / "table.md").read_text())


def test_a_run_that_ends_too_early_has_failed(setup):
    grid, plan, workdir, _ = setup
    outcome = sweep(grid, plan[:1], workdir, Start(lambda _: finished(), id), 1, threading.Event())
    assert "before its last step" in outcome.failed[plan[0].run.workdir]


def test_finished_runs_are_not_started_and_unfinished_are(setup):
    grid, plan, workdir, tiny_runs = setup
    folder = workdir.parent
    shutil.copytree(tiny_runs[0], plan[0].run.workdir)
    plan = make_plan([p.run for p in plan])
    stop = threading.Event()
    start = here(folder / "launch" / "train.py", 2, stop)
    outcome = sweep(grid, plan, workdir, start, 2, stop)
    assert outcome == ({}, False)
    assert sorted(started(folder)) == sorted(p.run.workdir.name for p in plan[1:])
    assert "4 of 4 runs are done" in (workdir / "table.md").read_text()


def test_no_more_than_parallel_runs_at_a_time_and_a_stop_cancels_them(setup):
    grid, plan, workdir, _ = setup
    jobs, stop, cancelled = [], threading.Event(), []

    def submit(run):
        jobs.append(Future())
        if len(jobs) == 2:
            stop.set()
        return jobs[-1]

    def cancel(job):
        cancelled.append(job)
        job.set_result("")

    outcome = sweep(grid, plan, workdir, Start(submit, cancel), 3, stop)
    assert len(jobs) == 2 and cancelled == jobs and outcome == ({}, True)
