"""One run on several hosts: how its processes meet, what each holds of a batch, and what one that ends tells.

Every process runs the same program on arrays that span all devices. The first one alone writes.
"""

import atexit
import contextlib
import ctypes
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Int

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead
GRACE = 2  # seconds that the first process lets the others speak before its end takes them along
LOST = (
    "Another process of this job has ended, or cannot be reached: what it said tells why. The same command "
    "resumes from the last checkpoint, on any number of processes."
)
Arrays = TypeVar("Arrays")


def find_job(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What `jax.distributed.initialize` is to be given; None where this process is a run by itself.

    A job is what VARIABLES describe, or a step of Slurm with more than one task, which jax finds by itself.

    Raises:
      ValueError: some of VARIABLES are missing or wrong; names them.
    """
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
    tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
    slurm = "SLURM_STEP_NODELIST" in environment and tasks != "1"  # as jax: the shell of a job is no task
    if not given:
        return {} if slurm else None
    missing = [name for name in VARIABLES if name not in given]
    if missing and not slurm:
        raise ValueError(
            f"{', '.join(given)} set, but not {', '.join(missing)}: a job of several processes needs all of "
            "them in each, a single process none."
        )
    job: dict[str, Any] = {}
    for name, option in zip(VARIABLES, ("coordinator_address", "num_processes", "process_id"), strict=True):
        if name in given:
            right = r"\S+:\d+" if option == "coordinator_address" else r"\d+"
            if not re.fullmatch(right, given[name]):
                wanted = "host:port of the first process" if option == "coordinator_address" else "a number"
                raise ValueError(f"{name} = {given[name]!r}: give {wanted}.")
            job[option] = given[name] if option == "coordinator_address" else int(given[name])
    if {"num_processes", "process_id"} <= job.keys() and job["process_id"] >= job["num_processes"]:
        raise ValueError(
            f"JAX_PROCESS_ID = {job['process_id']}: of JAX_NUM_PROCESSES = {job['num_processes']} the last "
            f"is {job['num_processes'] - 1}."
        )
    return job


@contextlib.contextmanager
def joined(seconds: int) -> Iterator[None]:
    """Be one process of the job that the environment describes, if it does, until the block ends.

    To be entered before anything asks for a device. What processes but the first print is not shown. Where
    the block raises, this process ends without waiting for the others, which then end as well.

    Args:
      seconds: to wait for the other processes at the start.

    Raises:
      ValueError: the environment is wrong, or the others do not come.
      ChildProcessError: another process has ended.
    """
    job = find_job(os.environ)
    if job is None:
        yield
        return
    jax.config.update("jax_enable_preemption_service", False)  # its handler of SIGTERM; `signals` has one
    where = job.get("coordinator_address", "the first task of the Slurm step")
    apart = (
        f"JAX_COORDINATOR_ADDRESS ({where}): the processes of this job did not meet within {seconds} s. "
        "Start all of them; give an address that each reaches, with a free port, or more --wait_for_hosts."
    )
    _speak_at_abort(apart)
    try:
        jax.distributed.initialize(**job, initialization_timeout=seconds, heartbeat_timeout_seconds=HEARTBEAT)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{apart} ({str(error).splitlines()[0][:200]})") from error
    _speak_at_abort(LOST)
    with contextlib.ExitStack() as stack:
        if not is_first():
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        try:
            print(f"{jax.process_count()} processes share {jax.device_count()} devices.", flush=True)
            yield
            wait("end")
        except BaseException as error:
            atexit.register(_leave)  # the last to be registered is the first to be called
            if isinstance(error, jax.errors.JaxRuntimeError) and _is_of_another(error):
                raise ChildProcessError(LOST) from error
            raise
    jax.distributed.shutdown()


def _is_of_another(error: BaseException) -> bool:
    words = r"gloo|nccl|peer|coordination|heartbeat|barrier"
    return re.search(words, str(error), re.IGNORECASE) is not None


def _leave() -> None:
    """End at once: jax would first wait for processes that wait for this one."""
    if is_first():
        time.sleep(GRACE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def _speak_at_abort(line: str) -> None:
    """Say the line where jax aborts from C++, past Python: the job does not meet, or its first is gone."""

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def speak(_: int) -> None:
        os.write(2, f"{line}\n".encode())
        os._exit(2)

    _KEPT.append(speak)
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype = ctypes.c_void_p
    set_handler(int(signal.SIGABRT), speak)


_KEPT: list[Any] = []  # C calls them as long as the process lives


def is_first() -> bool:
    """Whether this process writes what all of them have computed."""
    return jax.process_index() == 0


def wait(until: str) -> None:
    """Until every process has come here; `until` names the place, the same in each."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(until)


def any_process(flag: bool) -> bool:
    """Whether it is true in one of the processes, each of which calls this."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def refuse_differences(remedies: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """Processes of one run that compute different things would only notice it by nonsense.

    Args:
      remedies: what to do where a value differs, by name.
      values: what JSON can say, by the same names.

    Raises:
      ValueError: a value is not the same in each process; names it and its remedy.
    """
    if jax.process_count() == 1:
        return
    texts = [json.dumps(values[name], sort_keys=True, default=str).encode() for name in remedies]
    own = np.array([list(hashlib.sha256(text).digest()) for text in texts], np.uint8)
    all_of_them = multihost_utils.process_allgather(own)
    for number, (name, remedy) in enumerate(remedies.items()):
        other = np.flatnonzero((all_of_them[:, number] != all_of_them[0, number]).any(axis=1))
        if len(other):
            where = ", ".join(map(str, other))
            raise ValueError(f"Process {where} of this job has {name} than process 0. {remedy}")


def rows_of_process(sharding: jax.sharding.Sharding, batch: int) -> Int[np.ndarray, " rows"]:
    """Which rows of a batch, ascending, the devices of this process hold; in a single process all."""
    held = sharding.addressable_devices_indices_map((batch,)).values()
    return np.unique(np.concatenate([np.arange(batch)[index] for index in held]))


def place(rows: Arrays, sharding: jax.sharding.Sharding) -> Arrays:
    """Arrays of the whole batch, of which this process has its `rows_of_process` in numpy."""
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), rows)


def fetch(arrays: Arrays) -> Arrays:
    """The whole arrays in numpy, wherever their parts are; where those span processes, each calls this."""

    def whole(array: Any) -> Any:
        if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
            return multihost_utils.process_allgather(array, tiled=True)
        return np.asarray(array)

    return jax.tree.map(whole, arrays)
