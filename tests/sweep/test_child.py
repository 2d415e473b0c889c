import threading
import time

import pytest

from smdsb_jax.sweep.child import last_line, train, train_command
from smdsb_jax.sweep.grid import grid_runs
from smdsb_jax.sweep.plan import read_times, run_seconds
from tests.sweep.tiny_sweep import tiny_grid, write_files


@pytest.fixture
def runs(tmp_path):
    return grid_runs(
        tiny_grid(fields=("log_every=3",)), tmp_path / "runs", write_files(tmp_path, [str(tmp_path)] * 2)
    )


def test_the_command_line_of_a_run(runs, tmp_path):
    _, script, *words = train_command(runs[0], tmp_path / "train.py")
    config = f"{tmp_path}/configs/tiny.py:c2b,row=a"
    assert [script, *words[:5]] == [
        str(tmp_path / "train.py"), "train", "--config", config, "--workdir", str(runs[0].workdir),
    ]  # fmt: skip
    assert words[5:] == ["--config.log_every=3", "--config.seed=0"]


def test_a_failure_is_its_last_line_and_the_log_keeps_all(runs, tmp_path):
    script = tmp_path / "fails.py"
    script.write_text("print('works')\nraise ValueError('first\\nlast')")
    assert train(runs[0], script) == "last"
    assert train(runs[0], script) == "last"
    assert (runs[0].workdir / "train.log").read_text().count("works") == 2
    assert len(read_times(runs[0].workdir)) == 2 and run_seconds(runs[0].workdir) > 0


def test_a_failures_reason_is_its_own_where_another_process_writes_to_the_log(runs, tmp_path):
    log, script = runs[0].workdir / "train.log", tmp_path / "refused.py"
    script.write_text(
        f"import sys\nsys.stderr.write('refused')\nopen({str(log)!r}, 'a').write('step 5')\nsys.exit(2)"
    )
    assert train(runs[0], script) == "refused"
    assert log.read_text() == "step 5refused"


def test_a_silent_failure_shows_its_exit(runs, tmp_path):
    script = tmp_path / "silent.py"
    script.write_text("raise SystemExit(3)")
    assert train(runs[0], script) == "exit 3"
    assert last_line(" a \n b \n", 3) == "b"


def test_a_killed_process_is_told_by_its_signal_and_its_last_line_is_no_reason(runs, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text("import os\nprint('step 5/100', flush=True)\nos.kill(os.getpid(), 9)")
    said = "killed by SIGKILL, as the system does where memory runs out; last: step 5/100"
    assert train(runs[0], script) == said


def test_a_stop_lets_the_run_save(runs, tmp_path):
    (tmp_path / "mode").write_text("wait")
    run, stop, found = runs[-1], threading.Event(), []
    thread = threading.Thread(target=lambda: found.append(train(run, tmp_path / "launch" / "train.py", stop)))
    thread.start()
    while not (run.workdir / "waits").exists():
        time.sleep(0.05)
    assert read_times(run.workdir) == [None]  # as a crash would leave it
    stop.set()
    thread.join(30)
    assert found == [""] and (run.workdir / "saved").read_text() == "once"
    assert run_seconds(run.workdir) > 0
