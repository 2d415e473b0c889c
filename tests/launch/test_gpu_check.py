from tests.processes import run


def test_without_a_gpu_it_says_so_and_checks_nothing(tmp_path):
    done = run("gpu_check.py", f"--out={tmp_path / 'out'}")
    assert done.returncode == 2 and "jax sees no GPU, so nothing was checked" in done.stderr
    assert not (tmp_path / "out").exists() and done.stdout == ""
