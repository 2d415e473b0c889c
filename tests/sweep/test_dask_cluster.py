import distributed
import pytest

from smdsb_jax.sweep.dask_cluster import open_dask
from smdsb_jax.sweep.grid import grid_runs
from smdsb_jax.sweep.plan import make_plan, run_seconds
from tests.sweep.test_cluster import wait_for
from tests.sweep.tiny_sweep import tiny_grid, write_files
from tests.tiers import exhaustive


@pytest.fixture(scope="module")
def scheduler():
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=1, **options) as cluster:
        yield cluster.scheduler_address


@exhaustive
def test_a_worker_trains_tells_errors_and_lets_a_cancelled_run_save(scheduler, tmp_path, tiny_runs):
    folder = write_files(tmp_path, tiny_runs)
    runs = grid_runs(tiny_grid(directions=("c2b",)), folder / "runs", folder)
    submit, cancel = open_dask(scheduler, folder / "launch" / "train.py")
    (folder / "mode").write_text("fail")
    jobs = [submit(runs[0]), submit(runs[3])]
    assert jobs[0].result() == "" and run_seconds(runs[0].workdir) > 0
    assert make_plan(runs[:1])[0].progress == "done"
    assert jobs[1].result() == "FloatingPointError: Stage 1, step 7: loss/class = nan."
    (folder / "mode").write_text("wait")
    job = submit(runs[2])
    wait_for((runs[2].workdir / "waits").exists)
    cancel(job)
    wait_for(job.done)
    assert job.result() == "" and (runs[2].workdir / "saved").read_text() == "once"


@exhaustive
def test_no_scheduler_and_no_workers_are_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"^--dask 'tcp://127\.0\.0\.1:9': .*dask worker ADDRESS"):
        open_dask("tcp://127.0.0.1:9", tmp_path / "train.py", seconds=0.5)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        with pytest.raises(ValueError, match="this scheduler has no workers"):
            open_dask(cluster.scheduler_address, tmp_path / "train.py")
