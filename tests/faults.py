"""A campaign of faults: processes killed at random moments, damaged files, disks and clocks. `make faults`.

python -m tests.faults --kills 100 --terms 20 --interrupts 10 --files 100 --out runs/faults

After each fault the same command either ends as the run that nothing happened to, bit for bit, or refuses
with one line that names a file and the remedy. Anything else is bad: a traceback, another result, a good
checkpoint lost. Prints the counts and exits with 1 where something was bad.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.processes import LAUNCH, QUICK, ROOT, run

COUNTS = {"kills": 100, "terms": 20, "interrupts": 10, "files": 100, "disks": 10, "clocks": 10}
BAD = ("traceback", "different", "lost")  # what is good: same, refused
STEPS, EVERY = 24, 4  # of a stage, between its checkpoints
TRAIN = (
    "train.py", "--config", "configs/embedded.py:c2s,budget=study,encoder=pointnet",
    "--config.data.points=32", "--config.batch_size=16", "--config.eval_batch_size=64",
    "--config.encoder.embedding=16", "--config.encoder.layers=(8,8)", "--config.encoder.input_tnet=false",
    "--config.encoder.feature_tnet=false", "--config.pretext.min_share=0.09375", "--config.log_every=2",
    f"--config.eval_every={EVERY}", "--config.keep_checkpoints=3", f"--config.stage1.steps={STEPS}",
    f"--config.stage2.steps={STEPS}", "--config.validators.clouds=0", "--workdir",
)  # fmt: skip


TABLE = """
from smdsb_jax.sweep.grid import Grid

def get_grid(arg=""):
    rows = {{"none": ["selection=none"], "SM-DSB": []}}
    options = "budget=study,encoder=pointnet"
    return Grid("Faults", "configs/embedded.py", rows, ("c2s",), seeds=1, options=options, fields={fields})
"""
# the script that follows, on a machine whose clock jumps by days, now and then
JUMPING = """
import random, runpy, sys, time
real, jumps = time.time, [0]
def jumping():
    if random.random() < 0.01:
        jumps[0] = random.choice((-1e6, 0, 1e6))
    return real() + jumps[0]
time.time = jumping
time.time_ns = lambda: int(time.time() * 1e9)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Command(NamedTuple):
    """What is disturbed."""

    name: str
    words: Callable[[Path], Sequence[object]]  # the folder that it works in → its words
    results: tuple[str, ...]  # what must be the same byte for byte, below that folder


def commands_of(base: Path) -> list[Command]:
    """The commands that write, on what `prepare_inputs` made."""
    analyze = ("analyze.py", "--workdir", base / "whole" / "run", "--samples=16")
    return [
        Command("train", lambda folder: (*TRAIN, folder / "run"), ("run/metrics.jsonl",)),
        Command("analyze", lambda folder: (*analyze, "--out", folder / "out"), ("out/leaderboard.csv",)),
        Command(
            "prepare",
            lambda folder: ("prepare_data.py", "--data", base / "clouds", "--cache", folder / "cache"),
            ("cache/cad.npz", "cache/scan.npz"),
        ),
        Command(
            "sweep",
            lambda folder: ("sweep.py", "--table", base / "table.py", "--workdir", folder / "runs"),
            ("runs/table.csv",),
        ),
    ]


def prepare_inputs(base: Path) -> None:
    """What the commands read: a run, a folder of clouds, a table."""
    done = run(*TRAIN, base / "whole" / "run")
    assert done.returncode == 0, done.stderr[-2000:]
    fields = [word.removeprefix("--config.") for word in TRAIN if word.startswith("--config.")]
    (base / "table.py").write_text(TABLE.format(fields=fields))
    (base / "jumping.py").write_text(JUMPING)
    rng = np.random.default_rng(0)
    for domain in ("cad", "scan"):
        for label in ("ball", "rod"):
            folder = base / "clouds" / domain / "train" / label
            folder.mkdir(parents=True)
            for i in range(100):
                np.save(folder / f"{i}.npy", rng.normal(size=(500, 3)) * (1, 1, 1 + 4 * (label == "rod")))


def checkpoints(folder: Path) -> dict[str, set[str]]:
    """Checkpoints that are whole by their name → the SHA-256 of each file in them."""
    found = {}
    for path in (folder / "run" / "checkpoints").glob("*"):
        if path.name.isdigit():
            files = (file for file in path.rglob("*") if file.is_file())
            found[path.name] = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return found


def arrays(folder: Path) -> bytes:
    """The last checkpoint's numbers, read as a resume reads them."""
    import jax  # after `main` has set the environment

    from tests.run.test_loop import saved

    state, labels, last = saved(folder / "run")
    numbers = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((state, labels))]
    return b"".join([*numbers, str((last.stage, last.step)).encode()])


class Expected(NamedTuple):
    """What the undisturbed command leaves."""

    files: dict[str, bytes]
    arrays: bytes


def expected_of(command: Command, folder: Path) -> Expected:
    """Of a folder in which the command has ended."""
    files = {name: (folder / name).read_bytes() for name in command.results}
    return Expected(files, arrays(folder) if command.name == "train" else b"")


def judge(command: Command, done: subprocess.CompletedProcess, folder: Path, expected: Expected) -> str:
    """How the command ended after a fault."""
    said = done.stderr.strip()
    if "Traceback" in said + done.stdout or (done.returncode and len(said.splitlines()) != 1):
        print(f"exit {done.returncode}: {done.stdout[-1000:]}\n{said[-1000:]}", flush=True)
        return "traceback"
    if done.returncode:
        return "refused"
    return "same" if expected_of(command, folder) == expected else "different"


def run_again(command: Command, folder: Path, *flags: str) -> subprocess.CompletedProcess:
    """The command once more, when what a killed sweep had started has ended too."""
    while True:
        done = run(*command.words(folder), *flags)
        if "is writing here" not in done.stderr:
            return done
        time.sleep(1)


def disturb(command: Command, folder: Path, delay: float, number: int) -> None:
    """Start the command and send it a signal after a while, unless it has ended."""

    def meanwhile(pid: int) -> None:
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    run(*command.words(folder), meanwhile=meanwhile)


def killed(
    command: Command, folder: Path, seconds: float, number: int, rng: random.Random, expected: Expected
) -> str:
    """One to three signals at random moments, then the command again until it ends by itself."""
    before: dict[str, set[str]] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        disturb(command, folder, rng.uniform(0, seconds), number)
        now = checkpoints(folder)
        newest = max(map(int, before), default=-1)
        if any(now.get(name, files) != files for name, files in before.items()):
            return "lost"  # changed
        if newest >= 0 and max(map(int, now), default=-1) < newest:
            return "lost"
        before = now
    done = run_again(command, folder)
    if before and not ("Resuming" in done.stdout or "is finished" in done.stdout):
        return "lost"
    return judge(command, done, folder, expected)


def damage(path: Path, how: str, rng: random.Random) -> None:
    """Truncate, flip a bit of, empty or delete a file."""
    content = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: rng.randrange(len(content) or 1)])
    elif content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)


def damaged(
    command: Command, base: Path, folder: Path, rng: random.Random, expected: Expected
) -> tuple[str, str]:
    """A file of a stopped run is damaged; the run goes on, or is refused and goes on from an earlier step."""
    shutil.copytree(base / "stopped" / "run", folder / "run")
    whole = checkpoints(folder)
    files = sorted(path for path in (folder / "run").rglob("*") if path.is_file() and path.name[0] != ".")
    path, how = rng.choice(files), rng.choice(("deleted", "emptied", "truncated", "flipped"))
    damage(path, how, rng)
    what = f"{path.relative_to(folder / 'run')} {how}"
    if path.name == "metrics.jsonl":  # what is gone from the records is gone, the run is the same
        expected = expected._replace(files={})
        command = command._replace(results=())
    found = judge(command, run(*command.words(folder)), folder, expected)
    if found != "refused":
        return found, what
    left, hit = checkpoints(folder), path.relative_to(folder / "run").parts[:2][-1]
    good = {name: files for name, files in whole.items() if name != hit}
    changed = any(left.get(name, files) != files for name, files in good.items())
    # a run that has gone on, and found the damage at its end, keeps later ones in place of earlier ones
    if changed or max(map(int, {*left} - {hit}), default=-1) < max(map(int, good), default=-1):
        return "lost", what
    earlier = [int(name) for name in whole if name != hit and (not hit.isdigit() or int(name) < int(hit))]
    if earlier and hit.isdigit():  # the remedy must work
        done = run(*command.words(folder), f"--from_step={max(earlier)}")
        found = judge(command, done, folder, expected)
        return ("refused" if found == "same" else found if found in BAD else "different"), what
    return found, what


@contextlib.contextmanager
def file_system(folder: Path, options: str) -> Iterator[Callable[[str], None]]:
    """One of its own, in memory; what it gives mounts it anew with other options."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield lambda changed: subprocess.run(["mount", "-o", f"remount,{changed}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def judge_both(
    command: Command,
    first: subprocess.CompletedProcess,
    mend: Callable[[], Any],
    folder: Path,
    expected: Expected,
) -> str:
    """How the command ended on a disk with a fault, and then, when that is mended."""
    if "Traceback" in first.stderr or (first.returncode and len(first.stderr.strip().splitlines()) != 1):
        return "traceback"
    mend()
    found = judge(command, run_again(command, folder), folder, expected)
    return "refused" if first.returncode and found == "same" else found


def full_disk(command: Command, folder: Path, rng: random.Random, expected: Expected) -> str:
    """On a small file system that fills up, and grows afterwards."""
    with file_system(folder, f"size={rng.randint(40, 1200)}k") as remount:
        script, *words = map(str, command.words(folder))
        # not `run`, which leaves out the end of a process: Orbax' threads have their last word there
        line = [sys.executable, str(LAUNCH / script), *words]
        env = {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"] + QUICK}  # the same programs as `run`'s
        first = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=env)
        return judge_both(command, first, lambda: remount("size=100m"), folder, expected)


def read_only_disk(
    command: Command, folder: Path, seconds: float, rng: random.Random, expected: Expected
) -> str:
    """A run that was stopped goes on where it may not write, and then where it may again."""
    with file_system(folder, "size=100m") as remount:
        disturb(command, folder, rng.uniform(0.3, 1) * seconds, signal.SIGTERM)
        remount("ro")
        first = run(*command.words(folder))
        return judge_both(command, first, lambda: remount("rw"), folder, expected)


def jumping_clock(
    command: Command, base: Path, folder: Path, seconds: float, rng: random.Random, expected: Expected
) -> str:
    """The clock jumps while the run goes, its files are years old or of the future, and it goes on;
    then once more by a clock that goes right."""
    script, *words = command.words(folder)
    jumping = command._replace(words=lambda folder: (base / "jumping.py", LAUNCH / str(script), *words))
    disturb(jumping, folder, rng.uniform(0.3, 1) * seconds, signal.SIGTERM)
    for path in folder.rglob("*"):
        when = time.time() + rng.uniform(-3e8, 3e8)
        os.utime(path, (when, when))
    return judge_both(command, run_again(jumping, folder), lambda: None, folder, expected)


def campaign(flags: argparse.Namespace) -> Counter[tuple[str, str]]:
    """All faults that were asked for; (kind, outcome) → how often."""
    base, rng = Path(flags.out).resolve(), random.Random(flags.seed)
    shutil.rmtree(base, ignore_errors=True)
    prepare_inputs(base)
    chosen = [command for command in commands_of(base) if command.name in flags.commands.split(",")]
    undisturbed, seconds = {}, {}
    for command in chosen:
        folder, begun = base / "undisturbed" / command.name, time.monotonic()
        done = run(*command.words(folder))
        assert done.returncode == 0, done.stderr[-2000:]
        seconds[command.name] = time.monotonic() - begun
        undisturbed[command.name] = expected_of(command, folder)
    found: Counter[tuple[str, str]] = Counter()

    def note(kind: str, outcome: str, what: str) -> None:
        found[kind, outcome] += 1
        if outcome in BAD:
            print(f"{kind}: {outcome}: {what}", flush=True)

    signals = {"SIGKILL": flags.kills, "SIGTERM": flags.terms, "SIGINT": flags.interrupts}
    for name, count in signals.items():
        for i in range(count):
            command = chosen[0] if i % 4 else chosen[(i // 4) % len(chosen)]  # training most
            folder = base / name / str(i)
            of = (getattr(signal, name), rng, undisturbed[command.name])
            note(f"{command.name}, {name}", killed(command, folder, seconds[command.name], *of), str(folder))
            shutil.rmtree(folder, ignore_errors=True)
    train = chosen[0]
    if flags.files:
        stop_in_stage_2(train, base / "stopped")
    for i in range(flags.files):
        folder = base / "files" / str(i)
        note("damaged file", *damaged(train, base, folder, rng, undisturbed["train"]))
        shutil.rmtree(folder, ignore_errors=True)
    if flags.disks and os.geteuid():
        print("A disk with faults needs root, for a small file system: left out.")
    for i in range(0 if os.geteuid() else flags.disks):
        folder = base / "disks" / str(i)
        note("full disk", full_disk(train, folder / "full", rng, undisturbed["train"]), str(folder))
        found_there = read_only_disk(train, folder / "read", seconds["train"], rng, undisturbed["train"])
        note("read-only disk", found_there, str(folder))
    for i in range(flags.clocks):
        folder = base / "clocks" / str(i)
        of = (seconds["train"], rng, undisturbed["train"])
        note("jumping clock", jumping_clock(train, base, folder, *of), str(folder))
    return found


def stop_in_stage_2(command: Command, folder: Path) -> None:
    """A run that a signal stopped between its first checkpoint of stage 2 and its end."""
    first = folder / "run" / "checkpoints" / str(STEPS + EVERY)

    def meanwhile(pid: int) -> None:
        while not first.exists():
            time.sleep(0.001)
            os.kill(pid, 0)  # raises when the run has ended
        os.kill(pid, signal.SIGTERM)

    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(ProcessLookupError):
            done = run(*command.words(folder), meanwhile=meanwhile)
            if "Stopped at stage 2" in done.stdout:
                return
    raise RuntimeError("No signal met the run in stage 2.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count, help="how many (%(default)s)")
    parser.add_argument("--commands", default="train,analyze,prepare,sweep", help="which (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (%(default)s)")
    parser.add_argument("--out", default="runs/faults", help="folder, emptied first (%(default)s)")
    flags = parser.parse_args(arguments)
    os.environ.setdefault("XLA_FLAGS", "")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(".pytest_cache", "jax").resolve()))
    found = campaign(flags)
    for (kind, outcome), count in sorted(found.items()):
        print(f"{count:5d}  {kind}: {outcome}")
    return int(any(outcome in BAD for _, outcome in found))


if __name__ == "__main__":
    sys.exit(main())
