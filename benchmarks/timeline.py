"""Seconds that each instruction of a compiled program takes of the wall time, by jax's profiler."""

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

DONE = "end: "  # the CPU's event that an instruction, also one on other threads, has ended; then its name


class Moment(NamedTuple):
    """Something happens to an instruction. At the same nanosecond it starts before it stops."""

    nanosecond: float
    what: int  # START, STOP, FINISH
    name: str


START, STOP, FINISH = range(3)


def profile(run: Callable[[], Any], names: Collection[str]) -> list[Moment]:
    """What happens to the instructions of these names during `run()`; empty where a backend tells nothing."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    options.enable_hlo_proto = False
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            run()
        data = [jax.profiler.ProfileData.from_file(str(p)) for p in Path(folder).rglob("*.xplane.pb")]
        planes = [plane for one in data for plane in one.planes]
        on_device = [m for p in planes if p.name.startswith("/device:") for m in _moments(p, names, True)]
        return on_device or [m for p in planes for m in _moments(p, names, False)]


def _moments(plane: Any, names: Collection[str], by_stats: bool) -> Iterator[Moment]:
    for line in plane.lines:
        for event in line.events:
            name = dict(event.stats).get("hlo_op", "") if by_stats else event.name
            if name in names:
                yield Moment(event.start_ns, START, name)
                yield Moment(event.start_ns + event.duration_ns, STOP, name)
            elif name.startswith(DONE) and name.removeprefix(DONE) in names:
                yield Moment(event.start_ns + event.duration_ns, FINISH, name.removeprefix(DONE))


def seconds_of(moments: Collection[Moment], loops: Collection[str]) -> dict[str, float]:
    """Seconds by instruction, whose sum is at most the wall time, whatever the number of threads.

    Each moment belongs in equal parts to the instructions that then run on some thread; where none does, to
    those that have been started and not finished; else to the innermost of `loops`, whose bodies' time is not
    their own. What runs on two threads at once counts once, and two that run side by side half each.
    """
    seconds: dict[str, float] = dict.fromkeys((m.name for m in moments), 0.0)
    started, finished = (Counter(m.name for m in moments if m.what == what) for what in (START, FINISH))
    running: Counter[str] = Counter()
    unfinished: Counter[str] = Counter()
    before = 0.0
    for moment in sorted(moments):
        now, what, name = moment
        if running or unfinished:
            work = running.keys() - loops or unfinished.keys() - loops
            mine = work or [next(reversed(unfinished or running))]
            for one in mine:
                seconds[one] += 1e-9 * (now - before) / len(mine)
        before = now
        if what == START:
            _count(running, name, 1)
            _count(unfinished, name, 1)
        elif what == STOP:
            _count(running, name, -1)
            if finished[name] < started[name]:  # nothing says when it is finished
                _count(unfinished, name, -1)
        elif finished[name] >= started[name]:
            _count(unfinished, name, -1)
    return seconds


def runs_of(moments: Collection[Moment]) -> Counter[str]:
    """How often each instruction was started."""
    return Counter(m.name for m in moments if m.what == START)


def _count(counter: Counter[str], name: str, change: int) -> None:
    counter[name] += change
    if counter[name] <= 0:
        del counter[name]
