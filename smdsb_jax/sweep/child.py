"""One run as a process of its own: its log, its seconds, and a stop that lets it save."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from smdsb_jax.sweep.grid import Run
from smdsb_jax.sweep.plan import read_times, write_times

LOG = "train.log"
KILLED = {signal.SIGKILL: ", as the system does where memory runs out"}


def train_command(run: Run, script: Path) -> list[str]:
    """The command line of a run; `script` is smdsb_jax/__main__.py, or stands in for it."""
    words = [sys.executable, str(script), "train", "--config", f"{run.file}:{run.argument}", "--workdir"]
    return [*words, str(run.workdir), *(f"--config.{field}" for field in run.fields)]


def train(run: Run, script: Path, stop: threading.Event | None = None) -> str:
    """Start the run, or go on with it, and wait for its end; `stop` lets it save and end early.

    What it says goes to `train.log` in its folder, the seconds of this start to `sweep.json`.

    Returns:
      The last line of its error, or which signal killed it; empty if it ended well, or early because it was
      asked to.
    """
    times = read_times(run.workdir)
    write_times(run.workdir, [*times, None])  # in case the end is not seen
    started = time.perf_counter()
    # Errors apart: a training whose sweep was killed may still be writing to the log.
    with (run.workdir / LOG).open("a", encoding="utf-8") as log, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            train_command(run, script),
            stdout=log,
            stderr=errors,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            process_group=0,  # Ctrl-C reaches it once, from here
        )
        asked = _wait(process, stop)
        errors.seek(0)
        found = errors.read().decode(errors="replace")
        log.write(found)
    write_times(run.workdir, [*times, time.perf_counter() - started])
    code = process.returncode
    if asked or not code:
        return ""
    said = last_line(found or (run.workdir / LOG).read_text(encoding="utf-8", errors="replace"), code)
    if code > 0:
        return said
    return f"killed by {signal.Signals(-code).name}{KILLED.get(signal.Signals(-code), '')}; last: {said}"


def _wait(process: subprocess.Popen, stop: threading.Event | None) -> bool:
    """Whether the process was asked to stop."""
    asked = False
    while True:
        try:
            process.wait(timeout=0.2)
            return asked
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set() and not asked:
                asked = True
                process.send_signal(signal.SIGINT)  # a cluster may have sent it a SIGTERM


def last_line(said: str, code: int) -> str:
    """What a failed process said last."""
    lines = said.strip().splitlines()
    return lines[-1].strip() if lines else f"exit {code}"
