"""What a run shows while it runs: progress, metrics.jsonl and what a tracker gets."""

import contextlib
import io
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

from tqdm import tqdm

from smdsb_jax.files import whole_file
from smdsb_jax.trackers import Start, find_tracker

Values = Mapping[str, SupportsFloat]  # numbers of Python, numpy or jax, by name

CONFIG = "config.json"  # of the run, flat
RECORDS = "metrics.jsonl"
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
PLAIN = "{desc}  step {n_fmt}/{total_fmt} ({percentage:.0f} %)  {rate_noinv_fmt}  {remaining} left{postfix}"


class Reporter(NamedTuple):
    """The three ways in which a run speaks."""

    scalars: Callable[[int, int, Values], None]  # (stage, global step, values), to the files
    progress: Callable[[int, int, int, Values], None]  # (stage, its step, its steps, values)
    say: Callable[[str], None]  # one line, which does not break the progress bar


SILENT = Reporter(*[lambda *_: None] * 3)


@contextlib.contextmanager
def open_reporter(
    workdir: str | os.PathLike[str],
    resumed_from: tuple[int, int] = (0, 0),
    tracker: str = "tensorboard",
    config: Mapping[str, Any] | None = None,
) -> Iterator[Reporter]:
    """Report to the standard output and to files below `workdir` until the context ends.

    `scalars` appends one JSON line to `metrics.jsonl` (`stage`, `step`, then the values, named by paths
    such as `loss/pretext`; what is not finite becomes null, which pandas reads as NaN) and gives the same
    to the tracker. The step counts on from stage 1 to stage 2. What belongs to a step goes here before
    the checkpoint of that step is saved, and no times do: then an interrupted and resumed run leaves
    the same `metrics.jsonl`, byte for byte, as an uninterrupted one. Times of day are the tracker's.

    Lines that do not go to a terminal begin with the time of day.

    `progress` is called after a step's result has arrived. The rate counts from the first call of a
    stage, so that compilation, which precedes it, is left out. On a terminal it keeps one bar per stage;
    elsewhere each call prints one line.

    Args:
      workdir: The run's folder; made if missing.
      resumed_from: Stage and global step of the restored checkpoint: records beyond it are dropped.
        (0, 0), a fresh run, drops all.
      tracker: A name of `TRACKERS`.
      config: Of the run, flat, for the tracker.

    Raises:
      ValueError: an unknown tracker.
      OSError: the disk is full; names `metrics.jsonl`.
    """
    workdir = Path(workdir).absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / RECORDS
    _drop_after(path, resumed_from)
    with contextlib.ExitStack() as stack:
        progress, say, close = _open_progress()
        stack.callback(close)
        records = path.open("a", encoding="utf-8", buffering=1)  # a line, one write

        def close_records() -> None:
            with contextlib.suppress(OSError):  # of a full disk it would tell again, without the file's name
                records.close()

        stack.callback(close_records)
        track = find_tracker(tracker).begin(Start(workdir, resumed_from, config or {}, say))
        stack.push(lambda kind, *_: track.close(kind is not None))

        def scalars(stage: int, step: int, values: Values) -> None:
            numbers = {name: v if isinstance(v, int) else float(v) for name, v in values.items()}
            finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
            try:
                records.write(json.dumps({"stage": stage, "step": step, **finite}) + "\n")
                track.scalars(stage, step, numbers)
            except OSError as error:  # of a stream it does not name the file
                raise OSError(error.errno, error.strerror, str(path)) from error

        yield Reporter(scalars, progress, say)


def read_config(workdir: Path) -> dict[str, Any]:
    """The flat configuration that a run has written into its folder, as it wrote it.

    Raises:
      ValueError: there is none, or it lacks a stage's steps; names the file.
    """
    path = workdir / CONFIG
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
        for stage in config["stages"]:
            int(config[f"stage{stage}.steps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{path}: not the configuration of a run ({error})"
        raise ValueError(f"{why}. Delete it, or leave this folder out.") from None
    return config


def read_records(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, oldest first; a line that a crash cut off is left out."""
    return [record for _, record in _complete_lines(Path(path))]


def _complete_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if isinstance(record, dict) and {"stage", "step"} <= record.keys():
                lines.append((line, record))
    return lines


def _drop_after(path: Path, last: tuple[int, int]) -> None:
    """Rewrite the file with the records up to (stage, step) = `last`; all or nothing."""
    if path.exists():
        kept = [line for line, r in _complete_lines(path) if (r["stage"], r["step"]) <= last]
        with whole_file(path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _open_progress() -> tuple[Callable[..., None], Callable[[str], None], Callable[[], None]]:
    """`progress`, `say` and `close`. Without a terminal the bar draws nowhere, and its text is printed."""
    stream = sys.stdout
    # a pseudo-terminal without a size, as some containers have, would show no bar
    terminal = stream.isatty() and shutil.get_terminal_size((0, 0)).lines > 1
    bar: tqdm | None = None
    bar_stage = 0

    def close() -> None:
        if bar is not None:
            bar.close()

    def say(line: str) -> None:
        when = "" if stream.isatty() else time.strftime("%Y-%m-%d %H:%M:%S  ")
        with tqdm.external_write_mode(file=stream):
            print(when + line, file=stream, flush=True)

    def progress(stage: int, step: int, steps: int, values: Values) -> None:
        nonlocal bar, bar_stage
        if bar is None or stage != bar_stage:
            close()
            bar = tqdm(
                desc=f"stage {stage}",
                total=steps,
                initial=step,
                unit=" steps",
                file=stream if terminal else io.StringIO(),
                bar_format=BAR if terminal else PLAIN,
                dynamic_ncols=terminal,
            )
            bar_stage = stage
        bar.n = step
        bar.set_postfix_str(
            "  ".join(f"{name} {float(value):.4g}" for name, value in values.items()), refresh=False
        )
        if terminal:
            bar.refresh()
        else:
            say(str(bar))
        if step >= steps:
            close()  # else its clock would run on through the evaluation
            bar = None

    return progress, say, close
