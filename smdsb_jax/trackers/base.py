"""What a tracker is, and what those that other packages make have in common."""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from smdsb_jax.files import whole_file
from smdsb_jax.registry import one_line

RUNS = "tracker.json"  # in the workdir: by tracker the id of its run
PROJECT = "smdsb_jax"
Numbers: TypeAlias = Mapping[str, int | float]


class Start(NamedTuple):
    """What a tracker knows of a run that starts or goes on."""

    workdir: Path  # absolute
    resumed_from: tuple[int, int]  # stage and global step of the restored checkpoint; (0, 0): a fresh run
    config: Mapping[str, Any]  # flat: "optimizer.learning_rate" → 1e-3
    say: Callable[[str], None]  # one line on the standard output


class Tracker(NamedTuple):
    """Where a run's records go beside `metrics.jsonl`.

    - `scalars(stage, step, values)`: a record; the step counts on from stage 1 to stage 2. Steps after a
      restored checkpoint come again.
    - `close(failed)`: the run ends, or stops until it is resumed; `failed` by an error.
    """

    scalars: Callable[[int, int, Numbers], None]
    close: Callable[[bool], None]


class Entry(NamedTuple):
    """A tracker that can be chosen."""

    begin: Callable[[Start], Tracker]
    modules: tuple[str, ...] = ()  # that it imports, none of which the library requires
    install: str = ""  # what pip installs for them
    writes: str = ""  # what it writes below the workdir


SILENT = Tracker(lambda *_: None, lambda _: None)


def tolerant(name: str, begin: Callable[[Start], Tracker], start: Start) -> Tracker:
    """What `begin(start)` returns, except that its first error is said and ends the tracking, not the run."""
    tracker = SILENT

    def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal tracker
        try:
            return call(*arguments)
        except Exception as error:  # whatever another package raises
            tracker = SILENT
            start.say(
                one_line(
                    f"Warning: config.tracker = {name!r}: tracking ends here; neither the training nor "
                    f"metrics.jsonl depends on it. {type(error).__name__}: {error}"
                )
            )

    tracker = attempt(begin, start) or SILENT
    return Tracker(
        lambda stage, step, values: attempt(tracker.scalars, stage, step, values),
        lambda failed: attempt(tracker.close, failed),
    )


def kept_run(start: Start, name: str) -> str:
    """The id of the tracker's run that a resumed training goes on with; empty: it begins one."""
    return _kept(start.workdir).get(name, "") if any(start.resumed_from) else ""


def keep_run(start: Start, name: str, run: str) -> None:
    """Keep the id of the tracker's run for when the training is resumed."""
    kept = _kept(start.workdir) | {name: run}
    with whole_file(start.workdir / RUNS) as part:
        part.write_text(json.dumps(kept) + "\n", encoding="utf-8")


def _kept(workdir: Path) -> dict[str, str]:
    """What is no id is left out: a damaged file begins another run."""
    found: Any = None
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((workdir / RUNS).read_text(encoding="utf-8"))
    items = found.items() if isinstance(found, dict) else ()
    return {name: run for name, run in items if isinstance(run, str) and re.fullmatch(r"[\w-]{1,64}", run)}
