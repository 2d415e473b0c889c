"""Bad input by the thousand, generated: fields, files, names, command lines and tables, all in one process.

python -m tests.bad_input --count 1000 --seed 0

Each is refused in one line that names the field, the file or the flag, within a second and without much
memory, and nothing is written; or it is legitimate, and what it asks for is there: parts that fit, clouds of
finite numbers, a plan. Anything else is bad. Prints the counts and exits with 1 where something was bad.
What there is to be wrong is asked of the library (`SECTIONS`, `READERS`, the flags of launch/), so that a
new entry is covered at once.
"""

import argparse
import contextlib
import logging.handlers
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.processes import QUICK, ROOT

if __name__ == "__main__":  # before jax is imported
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + QUICK

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.bad_commands import command_lines, give_all, tables_of_runs
from tests.bad_configurations import configurations
from tests.bad_files import check_clouds, files, folders, whole_files
from tests.bad_values import SECONDS, TRACED, Case, Slow, within

GOOD = ("refused", "accepted")  # whatever else is said of a case is bad
BYTES = 200 * 2**20  # that a case may take
LETTERS = 2000  # of the line
HANGS = 30  # seconds, after which a case is given up


class Hung(BaseException):
    """A case has not ended."""


KINDS: dict[str, tuple[st.SearchStrategy[Case], int]] = {  # and how many of a dozen
    "configuration": (configurations(), 5),
    "file": (files(), 3),
    "folder": (folders(), 1),
    "command line": (command_lines(), 2),
    "table": (tables_of_runs(), 1),
}


def peak_bytes(reset: bool = False) -> int:
    """Of this process since the last reset, where the system counts it."""
    if not Path("/proc/self/clear_refs").exists():
        return 0
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def seen(place: Path) -> list[tuple[str, int]]:
    """All there is in the folder, and in that of the library."""
    inside = [(str(path), path.lstat().st_mtime_ns) for path in sorted(place.rglob("*"))]
    return inside + [(name, 0) for name in sorted(os.listdir(ROOT))]


def judge(case: Case, place: Path) -> tuple[str, str]:
    """What came of a case, and what was said."""
    case.prepare(place)
    before, held = seen(place), peak_bytes(reset=True)

    def give_up(*_: object) -> None:
        raise Hung

    logged = logging.handlers.BufferingHandler(1000)
    logging.getLogger().addHandler(logged)
    earlier = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANGS)
    try:
        with within(SECONDS if case.kind != "configuration" else TRACED):
            case.attempt(place)
        outcome, said = "accepted", ""
    except (ValueError, OSError) as error:
        outcome, said = "refused", str(error)
    except Slow as error:
        outcome, said = "slow", str(error)
    except Hung:
        outcome, said = "hangs", f"for {HANGS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome, said = "another error", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        logging.getLogger().removeHandler(logged)
        signal.signal(signal.SIGALRM, earlier)
    taken = peak_bytes() - held
    if logged.buffer:
        return "logged", logged.buffer[0].getMessage()
    if seen(place) != before:
        return "written", f"{set(seen(place)) ^ set(before)}"
    if taken > BYTES:
        return "memory", f"{taken / 2**20:.0f} MiB, {outcome}: {said}"
    if outcome == "refused":
        outcome = told_well(said, case.names)
    return outcome, said


def told_well(said: str, names: Sequence[str]) -> str:
    """Whether an error is one line that tells where."""
    if len(said.splitlines()) != 1 or re.search(r"[\x00-\x1f\x7f-\x9f]", said):
        return "several lines"
    if len(said) > LETTERS:
        return "endless"
    return "refused" if any(name and name[:100] in said for name in names) else "unnamed"


def campaign(
    count: int, seed: int, kinds: Sequence[str] = (), out: Path | None = None
) -> Counter[tuple[str, str]]:
    """So many cases; (kind, outcome) → how often. Bad ones are printed."""
    found: Counter[tuple[str, str]] = Counter()
    chosen = [
        strategy
        for name, (strategy, weight) in KINDS.items()
        if not kinds or name in kinds
        for _ in range(weight)
    ]

    @hypothesis.seed(seed)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck), print_blob=False)  # fmt: skip
    @given(st.integers(0, len(chosen) - 1).flatmap(chosen.__getitem__))
    def each(case: Case) -> None:
        place = Path(tempfile.mkdtemp(dir=out))
        try:
            outcome, said = judge(case, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        found[case.kind, outcome] += 1
        if outcome not in GOOD:
            print(f"{case.kind}: {outcome}: {case.what}\n    {said[:600]!r}", flush=True)

    with tempfile.TemporaryDirectory(dir=out) as place:
        warm_up(Path(place))
    each()
    return found


def warm_up(place: Path) -> None:
    """What a process does once, as to import what reads a format, is no time of the first case."""
    for suffix, contents in whole_files().items():
        (place / f"a{suffix}").write_bytes(contents[0])
        check_clouds(place / f"a{suffix}")
    give_all(
        "sweep.py",
        ["--workdir={}/runs", "--dry_run", "--seeds=1", "--table=configs/tables.py:agreement"],
        place,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bad_input", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is generated (%(default)s)")
    parser.add_argument("--kinds", default="", help=f"some of {', '.join(KINDS)}, with commas; default: all")
    given_ = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as out:
        found = campaign(given_.count, given_.seed, list(filter(None, given_.kinds.split(","))), Path(out))
    for (kind, outcome), count in sorted(found.items()):
        print(f"{count:5d}  {kind}: {outcome}")
    return int(any(outcome not in GOOD for _, outcome in found))


if __name__ == "__main__":
    sys.exit(main())
