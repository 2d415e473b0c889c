"""Checkpoints evaluated from the command line."""

import re

import pytest

from smdsb_jax.report.summary import selected_rows
from tests.processes import run
from tests.untrained_run import save_untrained


def evaluate(workdir, *flags):
    return run("evaluate.py", "--workdir", workdir, *flags)


def accuracy(text):
    return re.search(r"accuracy of all *\| *(\d+) *\| *([\d.]+)", text).groups()


def test_the_target_test_of_the_last_checkpoint_is_what_training_recorded(tiny_run):
    done = evaluate(tiny_run)
    assert done.returncode == 0, done.stderr[-2000:]
    last = next(r for r in selected_rows(tiny_run) if (r.stage, r.select_by) == (2, "last"))
    assert "scan test, last of stage 2 (step 6)" in done.stdout
    assert accuracy(done.stdout) == ("174", f"{100 * last.scores['target_test/accuracy']:.1f}")


def test_any_domain_split_and_checkpoint_with_pictures(tiny_run, tmp_path):
    done = evaluate(
        tiny_run, "--domain=catalog", "--split=val", "--checkpoint=source_val", "--stage=1",
        "--out", tmp_path / "new",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    best = next(r for r in selected_rows(tiny_run) if (r.stage, r.select_by) == (1, "source_val"))
    assert f"catalog val, source_val of stage 1 (step {best.step})" in done.stdout
    assert accuracy(done.stdout) == ("65", f"{100 * best.scores['source_val/accuracy']:.1f}")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["confusion.png", "saliency.png"]


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--checkpoint=99"], "no checkpoint of step 99. There are:"),
        (["--checkpoint=best"], "'best' is not known: one of last"),
        (["--domain=scann"], "Did you mean 'scan'?"),
        (["--split=dev"], "--split=dev"),
    ],
)
def test_mistakes_are_told_in_one_line(tiny_run, flags, words):
    done = evaluate(tiny_run, *flags)
    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr[-2000:]


def test_code_that_a_checkpoint_names_runs_only_where_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        f"open({str(tmp_path / 'called')!r}, 'w')\n"
        "from smdsb_jax.encoders.pointnet import PointNet\n\nclass Encoder(PointNet):\n    pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    workdir = save_untrained(tmp_path / "run", encoder="own:Encoder")
    refused = evaluate(workdir)
    assert refused.returncode == 2 and "config.encoder.name = 'own:Encoder'" in refused.stderr
    assert refused.stderr.count("\n") == 1 and not (tmp_path / "called").exists()
    done = evaluate(workdir, "--allow=own:Encoder")
    assert done.returncode == 0, done.stderr[-2000:]
    assert accuracy(done.stdout)[0] == "174" and (tmp_path / "called").exists()


def test_a_folder_without_a_run(tmp_path):
    done = evaluate(tmp_path)
    assert done.returncode == 2 and f"{tmp_path} is not the workdir of a run" in done.stderr


def test_parts_have_their_iou_and_a_picture_of_three_shapes(segmented_run, tmp_path):
    done = evaluate(segmented_run, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    last = next(r for r in selected_rows(segmented_run) if (r.stage, r.select_by) == (2, "last"))
    assert f"| mIoU of all           | 14     | {100 * last.scores['target_test/mIoU']:.1f}" in done.stdout
    assert "IoU, %" in done.stdout and "| forearm " in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["confusion.png", "parts.png", "saliency.png"]
