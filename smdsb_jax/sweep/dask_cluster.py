"""Runs on the workers of a Dask cluster: several machines without Slurm."""

import importlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smdsb_jax.sweep.child import train
from smdsb_jax.sweep.grid import Run

LOOK_EVERY = 1.0  # seconds between a worker's looks whether its run is to stop


def open_dask(
    address: str, script: Path, seconds: float = 10
) -> tuple[Callable[[Run], Any], Callable[[Any], None]]:
    """Submit a run, and cancel a job such that it can save. A run whose worker dies goes on at another.

    Args:
      address: of the scheduler, as tcp://host:8786.
      script: as in `train_command`, at the same place for all workers, as the sweep's folder and the data.
      seconds: to wait for the scheduler.

    Raises:
      ValueError: distributed is missing, or the scheduler, or its workers.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise ValueError("--cluster=dask needs Dask: pip install distributed.") from None
    start = "Start `dask scheduler` on one machine and `dask worker ADDRESS --nthreads 1` for each GPU."
    try:
        client = distributed.Client(address, timeout=seconds, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"--dask {address!r}: {str(error).splitlines()[0]} {start}") from None
    if not client.scheduler_info()["workers"]:
        client.close()
        raise ValueError(f"--dask {address!r}: this scheduler has no workers. {start}")

    def submit(run: Run) -> Any:
        name = f"{run.workdir.name}-{uuid.uuid4().hex}"
        return client.submit(work, run, script, name, key=name)

    def cancel(job: Any) -> None:
        distributed.Event(job.key, client).set()

    return submit, cancel


def work(run: Run, script: Path, name: str) -> str:
    """On a worker: train until the end, or until the event of that name lets the run save and end early.

    Returns:
      The last line of the error, or nothing.
    """
    distributed = importlib.import_module("distributed")
    asked = distributed.Event(name, distributed.get_client())
    stop, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_EVERY):
            if asked.is_set():
                stop.set()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return train(run, script, stop)
    finally:
        ended.set()
        watcher.join()
