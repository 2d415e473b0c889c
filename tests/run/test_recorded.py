import shutil

import pytest

from smdsb_jax.report.summary import selected_rows
from smdsb_jax.run.recorded import read_recorded


def without_checkpoints(run, folder):
    return shutil.copytree(run, folder / "run", ignore=shutil.ignore_patterns("checkpoints"))


def test_the_rows_are_those_of_the_checkpoints_that_were_there(tiny_run, tmp_path):
    rows = selected_rows(without_checkpoints(tiny_run, tmp_path))
    assert rows == selected_rows(tiny_run)
    assert {(row.stage, row.select_by) for row in rows} == {
        (stage, by) for stage in (1, 2) for by in ("last", "source_val", "oracle")
    }
    assert read_recorded(tiny_run) is None  # its checkpoints know more


def test_a_folder_without_evaluations_or_with_a_damaged_configuration(tiny_run, tmp_path):
    workdir = without_checkpoints(tiny_run, tmp_path)
    assert read_recorded(tmp_path) is None
    records = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    rows = selected_rows(workdir)
    (workdir / "metrics.jsonl").write_text("".join(records) + '{"stage": 7, "step": 1, "target_test/a": 1}\n')
    assert selected_rows(workdir) == rows  # no stage of ours
    (workdir / "metrics.jsonl").write_text("".join(line for line in records if "loss/" in line))
    assert read_recorded(workdir) is None
    (workdir / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config.json: not the configuration of a run .*Delete it."):
        read_recorded(workdir)
