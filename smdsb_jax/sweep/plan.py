"""What is left of a grid, and how long that will take by the runs that are done."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smdsb_jax.config import Config, trajectory_differences
from smdsb_jax.files import whole_file
from smdsb_jax.run.recorded import read_recorded
from smdsb_jax.run.workdir import last_checkpoint
from smdsb_jax.sweep.grid import Run, run_config

TIMES = "sweep.json"  # beside a run: seconds of each of its starts


class Planned(NamedTuple):
    """A run, and how far it is."""

    run: Run
    config: Config
    progress: str  # done, started or new


def make_plan(runs: Sequence[Run]) -> list[Planned]:
    """Check the configuration and the folder of each run; nothing is changed.

    Raises:
      ValueError: an impossible configuration, or a folder that holds another run; names the row.
    """
    configs = [run_config(run) for run in runs]  # all of them before the folders, which take longer
    return [Planned(run, config, progress(run, config)) for run, config in zip(runs, configs, strict=True)]


def progress(run: Run, config: Config) -> str:
    """`done`, `started` or `new`, by the run's checkpoints; where these were removed, by its records.

    Raises:
      ValueError: the folder holds a run of another configuration.
    """
    last = last_checkpoint(run.workdir)
    if last is not None:
        saved, stage, step = last.config, last.stage, last.step
    elif recorded := read_recorded(run.workdir):
        saved, (stage, step, _) = recorded.config, recorded.evaluations[-1]
    else:
        return "started" if (run.workdir / TIMES).exists() else "new"
    differences = trajectory_differences(saved, config, stage)
    if differences:
        raise ValueError(
            f"{run.workdir} holds a run with other values; take another --workdir:"
            + "".join(f"\n  {line}" for line in differences)
        )
    final = stage == config.stages[-1] and step >= config[f"stage{stage}"].steps
    return "done" if final else "started"


def read_times(workdir: Path) -> list[float | None]:
    """Seconds of each start of a run; None where its end was not seen."""
    path = workdir / TIMES
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.exists() else []
    except (json.JSONDecodeError, KeyError, TypeError):
        return [None]


def write_times(workdir: Path, seconds: Sequence[float | None]) -> None:
    """Replace the record of a run's starts, whole or not at all."""
    with whole_file(workdir / TIMES) as part:
        part.write_text(json.dumps({"seconds": list(seconds)}) + "\n", encoding="utf-8")


def run_seconds(workdir: Path) -> float | None:
    """Seconds that a run took over all its starts; None if one of them was not measured."""
    times = read_times(workdir)
    known = [seconds for seconds in times if seconds is not None]
    return sum(known) if times and len(known) == len(times) else None


def seconds_left(plan: Sequence[Planned], parallel: int = 1) -> float | None:
    """Estimate by the finished runs: of the same row where there are some, else of all rows.

    A run that was interrupted counts as a whole one. None: no run has been measured yet.
    """
    measured: dict[str, list[float]] = {}
    for planned in plan:
        seconds = run_seconds(planned.run.workdir) if planned.progress == "done" else None
        if seconds is not None:
            measured.setdefault(planned.run.row, []).append(seconds)
    if not measured:
        return None
    overall = float(np.mean([seconds for row in measured.values() for seconds in row]))
    means = {row: float(np.mean(found)) for row, found in measured.items()}
    left = [means.get(planned.run.row, overall) for planned in plan if planned.progress != "done"]
    return sum(left) / max(1, min(parallel, len(left)))


def plan_text(plan: Sequence[Planned], parallel: int = 1) -> str:
    """The runs of each row, how many are done, and what is left, as lines."""
    rows: dict[str, list[Planned]] = {}
    for planned in plan:
        rows.setdefault(planned.run.row, []).append(planned)
    width = max(map(len, rows))
    lines = [f"  {row.ljust(width)}  {_counts(found)}" for row, found in rows.items()]
    return "\n".join([f"{len(plan)} runs:", *lines, estimate_text(plan, parallel)])


def _counts(found: Sequence[Planned]) -> str:
    count: Mapping[str, int] = {
        kind: sum(p.progress == kind for p in found) for kind in ("done", "started", "new")
    }
    begun = f", {count['started']} begun" if count["started"] else ""
    return f"{count['done']}/{len(found)} done{begun}"


def estimate_text(plan: Sequence[Planned], parallel: int = 1) -> str:
    """`7/36 runs done; about 2.1 h left …`."""
    done = sum(planned.progress == "done" for planned in plan)
    head = f"{done}/{len(plan)} runs done"
    if done == len(plan):
        return f"{head}."
    seconds = seconds_left(plan, parallel)
    if seconds is None:
        return f"{head}; time left: unknown until the first run is done."
    at_once = f", {parallel} at a time" if parallel > 1 else ""
    return f"{head}; about {duration(seconds)} left, by the measured time of finished runs{at_once}."


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h` or `2.1 days`."""
    for unit, size, below, digits in (("s", 1, 90, 0), ("min", 60, 5400, 0), ("h", 3600, 172_800, 1)):
        if seconds < below:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def check_data(plan: Sequence[Planned]) -> None:
    """Refuse a data folder that is missing, before every run fails by it.

    Raises:
      ValueError: names the folder.
    """
    for root in {planned.config.data.root for planned in plan} - {""}:
        if not Path(root).is_dir():
            raise ValueError(f"config.data.root = {root!r}: no such folder. Give --field data.root=FOLDER.")
