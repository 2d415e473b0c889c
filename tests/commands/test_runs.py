from tests.processes import ROOT, run


def test_it_lists_runs_and_tells_in_a_line_what_is_wrong(tiny_run, tmp_path):
    done = run(ROOT / "smdsb_jax" / "__main__.py", "runs", tiny_run)
    assert done.returncode == 0 and done.stdout.splitlines()[2].startswith(f"| {tiny_run.name} ")
    done = run(ROOT / "smdsb_jax" / "__main__.py", "runs", tmp_path)
    assert done.returncode == 2 and "no runs here" in done.stderr and len(done.stderr.splitlines()) == 1
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text("[]")
    done = run(ROOT / "smdsb_jax" / "__main__.py", "runs", tmp_path)
    assert done.returncode == 2 and "d/config.json: not the configuration" in done.stderr
