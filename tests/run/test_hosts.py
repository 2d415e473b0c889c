"""Two processes on loopback, forks of one that has imported everything, and the pure pieces."""

import os
import signal
import socket

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from smdsb_jax.run import hosts, loop
from smdsb_jax.run.records import read_records
from tests.processes import QUICK, ROOT, run
from tests.shared import step_that_moves_all
from tests.tiers import exhaustive
from tests.tiny_run import tiny_config

SLURM = {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2"}
GIVEN = {"JAX_COORDINATOR_ADDRESS": "one:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}


def test_a_job_is_what_the_variables_say_or_a_step_of_slurm_with_several_tasks():
    assert hosts.find_job({}) is None
    job = {"coordinator_address": "one:1234", "num_processes": 2, "process_id": 1}
    assert hosts.find_job(GIVEN) == hosts.find_job(GIVEN | SLURM) == job
    assert hosts.find_job(SLURM) == {}  # jax finds the rest
    one = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}
    assert hosts.find_job(SLURM | one) is None  # as a job of a sweep
    assert hosts.find_job({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is None  # the script of such a job
    assert hosts.find_job(SLURM | {"JAX_COORDINATOR_ADDRESS": "one:1234"}) == {
        "coordinator_address": "one:1234"
    }


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES set, but not JAX_PROCESS_ID:"),
        ({"JAX_COORDINATOR_ADDRESS": "one"}, "JAX_COORDINATOR_ADDRESS = 'one': give host:port"),
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES = 'two': give a number"),
        ({"JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID = 2: of JAX_NUM_PROCESSES = 2 the last is 1."),
    ],
)
def test_half_a_job_is_refused_by_the_name_of_its_variable(changed, words):
    with pytest.raises(ValueError) as error:
        hosts.find_job(GIVEN | changed)
    assert words in str(error.value) and "\n" not in str(error.value)


class OfTwoProcesses(jax.sharding.Sharding):
    """A sharding of which this process has the second half of the devices."""

    def addressable_devices_indices_map(self, shape):
        quarter = shape[0] // 4
        return {device: (slice(device * quarter, (device + 1) * quarter),) for device in (3, 2)}


def test_a_process_holds_the_rows_of_its_own_devices():
    mesh = jax.make_mesh((4,), ("data",))
    for spec in (PartitionSpec("data"), PartitionSpec()):
        rows = hosts.rows_of_process(NamedSharding(mesh, spec), 8)
        np.testing.assert_array_equal(rows, np.arange(8))
    np.testing.assert_array_equal(hosts.rows_of_process(OfTwoProcesses(), 8), [4, 5, 6, 7])


JOB = """
import os, runpy, signal
from smdsb_jax.run import loop
from tests.shared import step_that_moves_all

parent, sender, at, number, quick = map(int, os.environ["JOB"].split())
child = os.fork()
index = parent if child else 1 - parent
os.environ["JAX_PROCESS_ID"] = str(index)
signal.alarm(280)
original, drawn = loop.sample_batch, [0]

def sample_batch(*args, **kwargs):
    drawn[0] += 1
    if (index, drawn[0]) == (sender, at):
        os.kill(os.getpid(), number)
    return original(*args, **kwargs)

loop.sample_batch = sample_batch
if quick:
    loop.train_step = step_that_moves_all
try:
    runpy.run_path("launch/train.py", run_name="__main__")
finally:
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("process", 1 - parent, "ended with", status, flush=True)
"""
CONFIG = """
import jax
from tests.tiny_run import tiny_config

jax.config.update("jax_enable_x64", {double})

def get_config():
    return tiny_config({fields})
"""


def train(folder, workdir, fields, devices, script="train.py", double=False, **env):
    words = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    (folder / "config.py").write_text(CONFIG.format(double=double, fields=words))
    return run(
        script, "--config", folder / "config.py", "--workdir", folder / workdir, PYTHONPATH=str(ROOT),
        XLA_FLAGS=f"--xla_force_host_platform_device_count={devices}{QUICK}", **env,
    )  # fmt: skip


def train_twice(folder, workdir, fields, parent=0, sender=-1, at=0, number=0, quick=False, **options):
    """Two processes of two devices. What that of number `parent` says; `sender` signals itself at a batch."""
    (folder / "job.py").write_text(JOB)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return train(
        folder, workdir, fields, 2, folder / "job.py", JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
        JAX_NUM_PROCESSES="2", JOB=f"{parent} {sender} {at} {int(number)} {int(quick)}", **options,
    )  # fmt: skip


def assert_same_records(folder, expected, tolerance):
    records = [read_records(path / "metrics.jsonl") for path in (folder, expected)]
    assert [r.keys() for r in records[0]] == [r.keys() for r in records[1]]
    for one, other in zip(*records, strict=True):
        for name, value in one.items():
            assert value == pytest.approx(other[name], rel=tolerance, abs=tolerance), (one["step"], name)


def test_a_run_moves_between_one_process_and_two_and_all_stop_where_one_is_told_to(tmp_path, monkeypatch):
    fields = {"stages": (1,), "log_every": 1, "eval_every": 6, "validators__names": ()}
    original = loop.sample_batch

    def interrupting(*args, **kwargs):
        if kwargs["step"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    monkeypatch.setattr(loop, "train_step", step_that_moves_all)
    assert loop.train_and_evaluate(tiny_config(**fields), tmp_path / "one").finished
    with monkeypatch.context() as patch:
        patch.setattr(loop, "sample_batch", interrupting)
        assert not loop.train_and_evaluate(tiny_config(**fields), tmp_path / "moved").finished
    found = train_twice(tmp_path, "moved", fields, sender=1, at=3, number=signal.SIGTERM, quick=True)
    assert found.returncode == 143, found.stderr[-3000:]
    assert "2 processes share 4 devices." in found.stdout and "process 1 ended with 143" in found.stdout
    assert "Resuming from stage 1, step 2." in found.stdout
    assert "Stopped at stage 1, step 5; saved." in found.stdout  # process 1 alone was told to
    assert found.stdout.count("stage 1  step 5/6") == 1
    assert loop.train_and_evaluate(tiny_config(**fields), tmp_path / "moved").finished
    assert_same_records(tmp_path / "moved", tmp_path / "one", 1e-6)


STEPS = {"stage1__steps": 50, "log_every": 1, "eval_every": 10}
# In double precision, where 1e-12 is between them and none selects otherwise. In float32 one does, in time.


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("on_one_device")
    done = train(folder, "run", STEPS, 1, double=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run"


@exhaustive
def test_50_steps_are_the_same_on_more_devices_and_on_two_processes(tmp_path, on_one_device):
    for devices in (2, 4):
        assert train(tmp_path, str(devices), STEPS, devices, double=True).returncode == 0
        assert_same_records(tmp_path / str(devices), on_one_device, 1e-6)
    both = train_twice(tmp_path, "both", STEPS, double=True)
    assert both.returncode == 0, both.stderr[-3000:]
    assert_same_records(tmp_path / "both", on_one_device, 1e-6)
    assert "process 1 ended with 0" in both.stdout and both.stdout.count("last (headline)") == 1
    assert (tmp_path / "both" / "confusion.png").exists()


@exhaustive
@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_ends_the_other_with_a_line_and_one_alone_resumes(tmp_path, on_one_device, dies):
    found = train_twice(
        tmp_path, "run", STEPS, parent=1 - dies, sender=dies, at=15, number=signal.SIGKILL, double=True
    )
    assert found.returncode == 2 and f"process {dies} ended with -9" in found.stdout + found.stderr
    assert found.stderr.strip().splitlines()[-1] == hosts.LOST
    resumed = train(tmp_path, "run", STEPS, 1, double=True)
    assert resumed.returncode == 0 and "Resuming from stage 1, step 10." in resumed.stdout
    assert_same_records(tmp_path / "run", on_one_device, 1e-6)
