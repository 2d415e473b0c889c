import os
import signal
import subprocess
import sys
import time

import pytest

from smdsb_jax.sweep.cluster import open_cluster
from smdsb_jax.sweep.grid import grid_runs
from smdsb_jax.sweep.plan import make_plan, run_seconds
from tests.sweep.tiny_sweep import ROOT, tiny_grid, write_files
from tests.tiers import exhaustive


@pytest.fixture
def setup(tmp_path, tiny_runs, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")  # open_cluster sets it for its jobs
    folder = write_files(tmp_path, tiny_runs)
    runs = grid_runs(tiny_grid(directions=("c2b",)), folder / "runs", folder)
    submit, cancel = open_cluster("local", [], folder / "runs", ROOT, folder / "launch" / "train.py")
    return folder, runs, submit, cancel


def wait_for(condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@exhaustive
def test_a_job_trains_a_run_and_returns_its_error(setup):
    folder, runs, submit, _ = setup
    (folder / "mode").write_text("fail")
    jobs = [submit(runs[0]), submit(runs[3])]
    assert jobs[0].result() == "" and run_seconds(runs[0].workdir) > 0
    assert make_plan(runs[:1])[0].progress == "done"
    assert jobs[1].result() == "FloatingPointError: Stage 1, step 7: loss/class = nan."


@exhaustive
def test_a_cancelled_job_lets_the_run_save(setup):
    folder, runs, submit, cancel = setup
    (folder / "mode").write_text("wait")
    job = submit(runs[2])
    wait_for((runs[2].workdir / "waits").exists)
    cancel(job)
    wait_for(job.done)
    assert (runs[2].workdir / "saved").read_text() == "once"


@exhaustive
def test_a_job_at_its_time_limit_saves_and_goes_on_in_its_next_start(setup):
    folder, runs, submit, _ = setup
    (folder / "mode").write_text("wait")
    job = submit(runs[2])
    wait_for((runs[2].workdir / "waits").exists)
    (folder / "mode").write_text("")
    # as Slurm signals a job; submitit's own _interrupt reaches only the process that watches it
    children = subprocess.run(["pgrep", "-P", job.job_id], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout), signal.SIGUSR2)
    assert job.result() == "" and (runs[2].workdir / "saved").read_text() == "once"
    assert make_plan(runs[2:3])[0].progress == "done"


@pytest.mark.parametrize(
    "cluster, options, message",
    [
        ("lokal", [], "one of local, slurm"),
        ("local", ["partition=gpu"], "--slurm belongs to --cluster=slurm"),
        ("slurm", ["partition=gpu"], "time limit of a job in minutes"),
        ("slurm", ["time=1:00:00"], "time limit of a job in minutes"),
        ("slurm", ["time=60"], "srun"),  # not on this machine
    ],
)
def test_wrong_options_are_refused(tmp_path, monkeypatch, cluster, options, message):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=message):
        open_cluster(cluster, options, tmp_path, ROOT, tmp_path)


def test_without_submitit_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match="pip install submitit"):
        open_cluster("local", [], tmp_path, ROOT, tmp_path)
