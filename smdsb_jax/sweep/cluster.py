"""Runs as jobs of a cluster, through submitit."""

import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smdsb_jax.sweep.child import train
from smdsb_jax.sweep.grid import Run

CLUSTERS = ("local", "slurm")
MONTH = 30 * 24 * 60  # minutes; submitit's own limit is a few minutes
REQUEUES = 100  # of one job, at its time limit
JOBS = "jobs"  # below the sweep's folder: what submitit writes


class Job:
    """A run as a job calls it. SIGINT, SIGTERM and the cluster's notice of its time limit let it save."""

    def __init__(self, run: Run, script: Path, devices: str | None) -> None:
        self.run, self.script, self.devices = run, script, devices

    def __call__(self) -> str:
        """Train; returns the last line of the error, or nothing."""
        if self.devices is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        elif self.devices != "job":
            os.environ["CUDA_VISIBLE_DEVICES"] = self.devices
        self.stop, found = threading.Event(), []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop.set())

        def work() -> None:
            # the training process inherits the mask: the notice is for this process, and would end that one
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
            found.append(train(self.run, self.script, self.stop))

        self.worker = threading.Thread(target=work)
        self.worker.start()
        self._wait()
        return found[0] if found else "The job's training could not be started."

    def checkpoint(self) -> Any:
        """What submitit calls before the time limit: the run saves, and its job is queued again."""
        self.stop.set()
        self._wait()
        return _submitit().helpers.DelayedSubmission(Job(self.run, self.script, self.devices))

    def _wait(self) -> None:
        while self.worker.is_alive():  # no join: a signal may come meanwhile and wait here too
            time.sleep(0.1)


def open_cluster(
    cluster: str, options: Sequence[str], workdir: Path, root: Path, script: Path
) -> tuple[Callable[[Run], Any], Callable[[Any], None]]:
    """Submit a run, and cancel a job such that it can save.

    Args:
      cluster: `local` (jobs are processes of this machine) or `slurm`.
      options: of sbatch without dashes, as `partition=gpu`; `time` in minutes.
      workdir: the sweep's folder.
      root: the folder with smdsb_jax/, also where the jobs run.
      script: as in `train_command`.

    Raises:
      ValueError: submitit or the cluster is missing, or an option is wrong.
    """
    if cluster not in CLUSTERS:
        raise ValueError(f"--cluster {cluster!r}: one of {', '.join(CLUSTERS)}.")
    given = _parameters(cluster, options)
    requeues = {"slurm_max_num_timeout": REQUEUES} if cluster == "slurm" else {}
    submitit = _submitit()
    try:
        executor = submitit.AutoExecutor(workdir / JOBS, cluster=cluster, **requeues)
        executor.update_parameters(**given)
    except (RuntimeError, NameError, AssertionError) as error:
        raise ValueError(f"--cluster {cluster}: {str(error).splitlines()[0]}") from None
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{path}" if path else str(root)  # jobs inherit it
    # the local executor hides all GPUs from its jobs; those of Slurm are the job's own
    devices = os.environ.get("CUDA_VISIBLE_DEVICES") if cluster == "local" else "job"

    def submit(run: Run) -> Any:
        return executor.submit(Job(run, script, devices))

    def cancel(job: Any) -> None:
        if cluster == "local":  # its own way to cancel kills within a second
            os.kill(int(job.job_id), signal.SIGTERM)
        else:
            job.cancel(check=False)

    return submit, cancel


def _parameters(cluster: str, words: Sequence[str]) -> dict[str, Any]:
    options = {name: value for name, _, value in (word.partition("=") for word in words)}
    if cluster == "local":
        if options:
            raise ValueError("--slurm belongs to --cluster=slurm.")
        return {"timeout_min": MONTH}
    if not options.get("time", "").isdigit():
        raise ValueError("--slurm: give the time limit of a job in minutes, as --slurm=time=1440.")
    return {f"slurm_{name}": int(value) if value.isdigit() else value for name, value in options.items()} | {
        "name": "smdsb_jax"
    }


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ImportError:
        raise ValueError("--cluster needs submitit: pip install submitit.") from None
