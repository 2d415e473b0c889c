import shutil

import pytest

from smdsb_jax.sweep import plan as module
from smdsb_jax.sweep.grid import grid_runs, run_config
from smdsb_jax.sweep.plan import (
    Planned,
    check_data,
    duration,
    estimate_text,
    make_plan,
    plan_text,
    progress,
    read_times,
    run_seconds,
    seconds_left,
    write_times,
)
from tests.sweep.tiny_sweep import tiny_grid, write_files
from tests.tiny_run import tiny_config


@pytest.fixture
def runs(tmp_path):
    return grid_runs(tiny_grid(), tmp_path / "runs", write_files(tmp_path, []))


def planned(runs, done=()):
    return [Planned(run, tiny_config(), "done" if i in done else "new") for i, run in enumerate(runs)]


def test_a_run_is_done_by_its_checkpoints_and_unfinished_by_more_steps(runs, tiny_runs):
    shutil.copytree(tiny_runs[0], runs[0].workdir)
    write_times(runs[1].workdir, [None])
    plan = make_plan(runs)
    assert [p.progress for p in plan] == ["done", "started", *["new"] * 6]
    config = run_config(runs[0])
    config.stage2.steps = 9
    assert progress(runs[0], config) == "started"


def test_a_run_whose_checkpoints_were_removed_is_done_by_its_records(runs, tiny_runs):
    shutil.copytree(tiny_runs[0], runs[0].workdir, ignore=shutil.ignore_patterns("checkpoints"))
    assert [progress(run, run_config(run)) for run in runs[:2]] == ["done", "new"]
    config = run_config(runs[0])
    config.stage2.steps = 9
    assert progress(runs[0], config) == "started"
    config.optimizer.learning_rate = 0.5
    with pytest.raises(
        ValueError, match=r"another --workdir:\n  config.optimizer.learning_rate: 0.001 -> 0.5"
    ):
        progress(runs[0], config)


def test_a_folder_of_another_run_is_refused(runs, tiny_runs):
    shutil.copytree(tiny_runs[1], runs[0].workdir)
    with pytest.raises(ValueError, match="another --workdir:\n  config.seed: 1 -> 0"):
        make_plan(runs)


def test_every_configuration_is_checked_before_any_folder(runs, monkeypatch):
    monkeypatch.setattr(module, "last_checkpoint", lambda _: pytest.fail("a folder was opened"))
    wrong = runs[-1]._replace(fields=("log_every=0",))
    with pytest.raises(ValueError, match="Row 'second'.*log_every"):
        make_plan([*runs, wrong])


def test_seconds_add_up_and_are_unknown_where_an_end_was_not_seen(tmp_path):
    assert run_seconds(tmp_path) is None and read_times(tmp_path) == []
    write_times(tmp_path, [10.0, 2.5])
    assert run_seconds(tmp_path) == 12.5
    write_times(tmp_path, [10.0, None])
    assert run_seconds(tmp_path) is None
    (tmp_path / "sweep.json").write_text("{")
    assert read_times(tmp_path) == [None]


def test_the_estimate_takes_each_rows_own_time(runs):
    assert seconds_left(planned(runs)) is None
    write_times(runs[0].workdir, [100.0])  # row first
    assert seconds_left(planned(runs, {0})) == 7 * 100
    write_times(runs[1].workdir, [300.0])  # row second
    assert seconds_left(planned(runs, {0, 1})) == 3 * 100 + 3 * 300
    assert seconds_left(planned(runs, {0, 1}), parallel=2) == 600
    assert seconds_left(planned(runs, {1})) == 4 * 300 + 3 * 300  # rows without a run: mean of the others
    assert seconds_left(planned(runs, range(8))) == 0


def test_the_plan_says_what_is_known(runs):
    text = plan_text(planned(runs))
    assert text.splitlines()[0] == "8 runs:" and "first   0/4 done" in text
    assert text.endswith("0/8 runs done; time left: unknown until the first run is done.")
    write_times(runs[0].workdir, [3600.0])
    assert "1/8 runs done; about 7.0 h left" in estimate_text(planned(runs, {0}))
    assert estimate_text(planned(runs, range(8))) == "8/8 runs done."


@pytest.mark.parametrize(
    "seconds, text", [(40.0, "40 s"), (600.0, "10 min"), (7200.0, "2.0 h"), (259_200.0, "3.0 days")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_missing_data_folder_is_refused(runs, tmp_path):
    plan = planned(runs)
    check_data(plan)  # the embedded data need none
    plan[0].config.data.root = str(tmp_path / "absent")
    with pytest.raises(ValueError, match="absent': no such folder. Give --field data.root=FOLDER"):
        check_data(plan)
