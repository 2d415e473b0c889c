"""Run what is left of a plan; the tables are there after each run."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from smdsb_jax.registry import foreign_names
from smdsb_jax.sweep.child import LOG, train
from smdsb_jax.sweep.curves import learning_curve
from smdsb_jax.sweep.grid import Grid, Run
from smdsb_jax.sweep.measure import MEASURES
from smdsb_jax.sweep.plan import Planned, estimate_text, progress
from smdsb_jax.sweep.table import Results, add, write_tables


class Start(NamedTuple):
    """How a run starts: here, or as a job of a cluster."""

    submit: Callable[[Run], Any]  # returns what has done() and result(), the error of the run or ""
    cancel: Callable[[Any], None]  # lets it save and end early


class Outcome(NamedTuple):
    """How a sweep ended."""

    failed: dict[Path, str]  # folder of a run → last line of its error
    stopped: bool


def sweep(
    grid: Grid,
    plan: Sequence[Planned],
    workdir: Path,
    start: Start,
    parallel: int,
    stop: threading.Event,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Run what the plan has left, at most `parallel` at a time, and write the tables after each run.

    A run that fails does not stop the others; `stop` ends the running ones, which save, and starts no more.
    """
    plan, found, failed = list(plan), Results(), {}
    grid = grid if MEASURES[grid.measure].own_rows else grid._replace(select_by=headline_of(plan))
    for planned in plan:
        if planned.progress == "done":
            _collect(grid, planned, found, failed)
    write_tables(grid, found, len(plan), workdir)
    waiting = [i for i, planned in enumerate(plan) if planned.progress != "done"]
    running: dict[int, Any] = {}
    cancelled = False
    while running or (waiting and not stop.is_set()):
        while waiting and len(running) < parallel and not stop.is_set():
            i = waiting.pop(0)
            run = plan[i].run
            say(f"[{i + 1}/{len(plan)}] {run.direction}, {run.row}, seed {run.seed} → {run.workdir / LOG}")
            running[i] = start.submit(run)
        if stop.is_set() and not cancelled:
            cancelled = True
            say("Stopping; what runs is saved …")
            for job in running.values():
                start.cancel(job)
        for i in [i for i, job in running.items() if job.done()]:
            plan[i] = _finish(plan[i], running.pop(i), stop.is_set(), failed)
            if plan[i].progress == "done":
                _collect(grid, plan[i], found, failed)
            write_tables(grid, found, len(plan), workdir)
            if plan[i].run.workdir in failed:
                say(f"  failed: {failed[plan[i].run.workdir]}")
            say(f"  {estimate_text(plan, parallel)}")
        time.sleep(0.05)
    return Outcome(failed, stop.is_set() and any(p.progress != "done" for p in plan))


def headline_of(plan: Sequence[Planned]) -> str:
    """The way of choosing checkpoints that all runs share.

    Raises:
      ValueError: they differ.
    """
    found = sorted({planned.config.select_by for planned in plan})
    if len(found) > 1:
        raise ValueError(
            f"config.select_by differs between the rows ({', '.join(found)}): give all the same."
        )
    return found[0]


def _finish(planned: Planned, job: Any, stopping: bool, failed: dict[Path, str]) -> Planned:
    """The run's new progress; its error, if any, is added to `failed`."""
    run = planned.run
    try:
        error = job.result()
    except Exception as raised:  # of submitit many kinds
        error = (str(raised).strip().splitlines() or [type(raised).__name__])[-1]
        error = "" if stopping else error
    try:
        now = progress(run, planned.config)
    except Exception as unreadable:  # Orbax raises many kinds; the sweep goes on
        now, error = "started", error or str(unreadable)
    if now != "done" and not error and not stopping:
        error = "It ended before its last step; the same command goes on with it."
    if error:
        failed[run.workdir] = error
    return planned._replace(progress=now)


def _collect(grid: Grid, planned: Planned, found: Results, failed: dict[Path, str]) -> None:
    run = planned.run
    try:
        own = foreign_names(planned.config).values()  # of the table's author
        add(found, run, MEASURES[grid.measure].of_run(run.row, run.workdir, own))
        if (curve := learning_curve(run.workdir)).size:
            found.curves.setdefault((run.row, run.direction), {})[run.seed] = curve
    except Exception as unreadable:
        failed[run.workdir] = f"It is finished, but cannot be read: {unreadable}"


def here(script: Path, parallel: int, stop: threading.Event) -> Start:
    """Runs as processes of this machine; the stop reaches them by itself."""
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    ):
        signal.signal(
            signal.SIGHUP, lambda *_: stop.set()
        )  # a closed terminal leaves no run without its sweep
    pool = ThreadPoolExecutor(parallel)
    return Start(lambda run: pool.submit(train, run, script, stop), lambda _: None)
