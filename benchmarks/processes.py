"""Processes of the benchmark: same cores, same precision, own caches; asked by lines, answered in JSON."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contenders import CONTENDERS, Setting
from benchmarks.machine import ROOT


class Worker(NamedTuple):
    """A contender's running process."""

    name: str
    process: subprocess.Popen[str]
    log: Path  # its standard error
    ready: dict[str, Any]  # its first answer


class Failed(ValueError):
    """A contender's process ended before it answered; says why."""


def open_worker(name: str, setting: Setting, cache: str) -> contextlib.AbstractContextManager[Worker]:
    """A contender of the step, by `open_process`."""
    words = ["benchmarks.worker", name, json.dumps(setting._asdict())]
    return open_process(name, words, CONTENDERS[name].framework, setting, cache)


@contextlib.contextmanager
def open_process(
    name: str, words: Sequence[str], framework: str, setting: Setting, cache: str
) -> Iterator[Worker]:
    """Start `python -m WORDS` and wait for its first answer; its compiled programs are kept in `cache`.

    Raises:
      Failed: it did not come up.
    """
    log = Path(cache) / "stderr.txt"
    command = [sys.executable, "-m", *words]
    environment = environment_of(framework, setting, cache)
    with log.open("w") as stderr, limited_to(setting.threads):
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
    with process:
        try:
            starting = Worker(name, process, log, {})
            yield starting._replace(ready=_answer(starting))
        finally:
            process.kill()  # it has nothing to save


def ask(worker: Worker, command: str) -> dict[str, Any]:
    """`step`: its seconds; `memory`: the peak in bytes.

    Raises:
      Failed: the process is gone.
    """
    assert worker.process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        worker.process.stdin.write(command + "\n")
        worker.process.stdin.flush()
    return _answer(worker)


def _answer(worker: Worker) -> dict[str, Any]:
    assert worker.process.stdout is not None
    line = worker.process.stdout.readline()
    if line:
        return json.loads(line)
    code = worker.process.wait()
    if code == -signal.SIGKILL:
        raise Failed(f"{worker.name}: killed, most likely for want of memory.")
    last = [text for text in worker.log.read_text(errors="replace").splitlines() if text.strip()][-1:]
    raise Failed(f"{worker.name}: ended with {code}. {''.join(last)[:500]}")


def run_module(module: str, setting: Setting, arguments: Mapping[str, Any]) -> Any:
    """What `python -m MODULE SETTING ARGUMENTS` prints on its standard output, read as JSON.

    Raises:
      ValueError: it ended with an error.
    """
    words = [json.dumps(setting._asdict()), json.dumps(arguments)]
    with tempfile.TemporaryDirectory() as cache, limited_to(setting.threads):
        done = subprocess.run(
            [sys.executable, "-m", module, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
            env=environment_of("jax", setting, cache),
        )  # fmt: skip
    if done.returncode:
        raise ValueError(f"python -m {module} ended with {done.returncode}; its error is above.")
    return json.loads(done.stdout.splitlines()[-1])


def environment_of(framework: str, setting: Setting, cache: str) -> dict[str, str]:
    """The environment of a contender: its platform, its threads, its cache; no virtual devices."""
    own = {
        # the torch contenders take only their first weights from jax
        "JAX_PLATFORMS": "cuda,cpu" if setting.device == "gpu" and framework == "jax" else "cpu",
        "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else the first contender takes most of a GPU's memory
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch",
        "TRITON_CACHE_DIR": f"{cache}/triton",
        "OMP_NUM_THREADS": str(setting.threads),
        "PYTHONWARNINGS": "ignore",
    }
    flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if "host_platform_device_count" not in f]
    # OMP_WAIT_POLICY=active would keep the idle threads of a waiting contender busy
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return inherited | {"XLA_FLAGS": " ".join(flags)} | own


@contextlib.contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Processes started meanwhile may use the first `threads` cores of this one's: XLA has no other limit."""
    if not hasattr(os, "sched_setaffinity"):  # not Linux: `check_threads` allows all cores only
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def check_threads(threads: int | None) -> int:
    """--threads, or all cores that this process may use.

    Raises:
      ValueError: more than there are, or a number that this system cannot enforce.
    """
    can_limit = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if can_limit else os.cpu_count() or 1
    if threads is None:
        return cores
    if not 1 <= threads <= cores:
        raise ValueError(f"--threads={threads}: this process may use {cores} cores. Give 1 to {cores}.")
    if threads < cores and not can_limit:
        raise ValueError(
            f"--threads={threads}: only Linux can keep XLA to fewer cores. Give {cores}, or leave it out."
        )
    return threads


def require_one_precision(reported: Mapping[str, str]) -> None:
    """Refuse to compare products of different precision.

    Raises:
      ValueError: the contenders differ; says which computes in what.
    """
    if len(set(reported.values())) > 1:
        found = "; ".join(f"{name}: {precision}" for name, precision in reported.items())
        raise ValueError(
            f"The contenders' matrix products differ in precision, which is no comparison ({found}). "
            "Give one --precision, and unset variables such as TORCH_ALLOW_TF32_CUBLAS_OVERRIDE."
        )


def open_progress(total: int) -> Callable[[str], None]:
    """`tick(what was done)`: a line on the standard error with the time left if all parts took as long."""
    begun, done = time.monotonic(), 0

    def tick(text: str) -> None:
        nonlocal done
        done += 1
        minutes, seconds = divmod(int((time.monotonic() - begun) / done * max(total - done, 0)), 60)
        print(f"[{done}/{total}, about {minutes}:{seconds:02d} left] {text}", file=sys.stderr, flush=True)

    return tick
