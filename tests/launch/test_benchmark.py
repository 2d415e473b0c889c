"""The command in a process of its own: refusals, and a whole small comparison without PyTorch."""

import json

from tests.processes import LAUNCH, run
from tests.tiers import exhaustive

WITHOUT_TORCH = (
    "import importlib.util, runpy, sys; real = importlib.util.find_spec; "
    "importlib.util.find_spec = lambda name, *more: None if name == 'torch' else real(name, *more); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@exhaustive
def test_a_small_comparison_without_torch_writes_table_json_and_picture(tmp_path):
    (tmp_path / "without_torch.py").write_text(WITHOUT_TORCH)
    done = run(
        tmp_path / "without_torch.py", LAUNCH / "benchmark.py", "--encoder=pointnet", "--points=32",
        "--batch=2", "--rounds=2", f"--out={tmp_path}", "--warmup=0",
        "--contenders=torch eager,jax no selection",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pip install torch" in done.stderr and "round 2 of 2" in done.stderr
    assert "| jax no selection | " in done.stdout and "float32" in done.stdout
    assert (tmp_path / "benchmark.md").read_text() in done.stdout
    assert (tmp_path / "benchmark.png").stat().st_size > 5000
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["machine"]["cpu"] and found["machine"]["versions"]["jax"]
    (case,) = found["measured"]
    record = case["contenders"]["jax no selection"]
    assert case["baseline"] == "jax no selection" and case["failed"] == {}
    assert len(record["seconds"]) == 2 and min(record["seconds"]) > 0
    assert record["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert record["cold"]["compile"] > record["cached"]["compile"] > 0  # the cache is empty, then used
    assert 2**26 < record["peak_bytes"] < 2**33 and record["clouds_per_second"] > 0


def test_a_mistake_is_told_in_one_line_before_any_work(tmp_path):
    done = run("benchmark.py", "--contenders=jax maks shared", f"--out={tmp_path / 'out'}")
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr[-2000:]
    assert "--contenders = 'jax maks shared' is not known. Did you mean 'jax mask shared'" in done.stderr
    assert not (tmp_path / "out").exists()
