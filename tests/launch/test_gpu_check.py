import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_without_a_gpu_it_says_so_and_checks_nothing(tmp_path):
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(ROOT / "launch" / "gpu_check.py"),
        f"--out={tmp_path / 'out'}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "jax sees no GPU, so nothing was checked" in done.stderr
    assert not (tmp_path / "out").exists() and done.stdout == ""
