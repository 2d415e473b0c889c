"""The two commands of the README and their errors, each in a process of its own."""

import re
from pathlib import Path

import pytest

from tests.datasets.pointda_tree import write_tree
from tests.processes import run

# those of tests/tiny_run.py, whose programs are compiled already
TINY = (
    "--config.data.points=32", "--config.data.subsample=uniform", "--config.batch_size=16",
    "--config.eval_batch_size=64", "--config.encoder.embedding=16", "--config.encoder.layers=(8,8)",
    "--config.encoder.input_tnet=false", "--config.encoder.feature_tnet=false",
    "--config.optimizer.learning_rate=1e-3", "--config.log_every=3", "--config.eval_every=6",
)  # fmt: skip


def train(workdir, *flags, config="configs/embedded.py:c2s,budget=study,encoder=pointnet", steps=6):
    budget = (f"--config.stage1.steps={steps}", f"--config.stage2.steps={steps}")
    return run("train.py", "--config", config, "--workdir", workdir, *TINY, *budget, *flags)


def assert_refused(done, *words):
    assert done.returncode == 2, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    for word in words:
        assert word in lines[0]


def test_the_main_job_shows_what_it_does_and_a_second_command_says_finished(tmp_path):
    defrec = "--config.pretext.min_share=0.09375"
    first = train(tmp_path, defrec)
    assert first.returncode == 0, first.stderr[-2000:]
    said = first.stdout
    assert '  selection.side: "low"\n' in said and "keep_ratio" not in said  # what differs from defaults
    assert said.index("catalog (source)") < said.index("selection.side")  # what is wrong with data, before
    assert re.search(r"stage 1: a step needs [\d.]+ GiB of the [\d.]+ GiB that there are[.;]", said)
    assert re.search(r"stage 1  step 3/6 \(50 %\)  .*steps/s.*left.*class ", said)
    assert re.search(r"stage 2  step 6: accuracy [\d.]+ % on catalog \(source\) validation", said)
    assert "Pseudo-labels: 430 of 430 target clouds" in said
    assert "last (headline)" in said and "oracle: best on target test" in said
    assert "mean over classes" in said
    written = [Path(line.strip()) for line in said.partition("Written:\n")[2].splitlines()]
    assert len(written) == 9 and all(path.exists() for path in written)
    before = {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    records = (tmp_path / "metrics.jsonl").read_bytes()
    second = train(tmp_path, defrec)
    assert second.returncode == 0 and "is finished" in second.stdout
    assert before == {p: p.read_bytes() for p in before}
    assert (tmp_path / "metrics.jsonl").read_bytes() == records
    assert second.stdout.partition("Scores in %")[2] == said.partition("Scores in %")[2]


def test_pointda_from_its_files_to_its_tables(tmp_path):
    root = write_tree(tmp_path / "PointDA_data", objects_per_class=5)
    done = train(
        tmp_path / "run", f"--config.data.root={root}", "--config.stages=(1,)",
        config="configs/pointda.py:m2s*,encoder=pointnet,pretext=none,selection=none", steps=2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "modelnet → scannet" in done.stdout and "bathtub" in done.stdout
    assert (tmp_path / "run" / "saliency.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--config.selection.keep_ration=0.8"], ["no field 'keep_ration'", "Did you mean 'keep_ratio'"]),
        (["--config.selection.keep_ratio=many"], ["--config.selection.keep_ratio=many"]),
        (["--config.selection.keep_ratio=2.0"], ["config.selection.keep_ratio = 2.0: between"]),
        (["--config.combine.name=os:abort"], ["'os:abort' is a builtin", "it must be a Python function"]),
    ],
    ids=["field", "type", "value", "code"],
)
def test_a_mistake_is_told_in_one_line_before_any_work(tmp_path, flags, words):
    assert_refused(train(tmp_path / "run", *flags), *words)
    assert not (tmp_path / "run").exists()


def test_a_missing_data_folder_names_what_is_expected(tmp_path):
    root = f"--config.data.root={tmp_path / 'no'}"
    done = train(tmp_path / "run", root, config="configs/pointda.py:m2s,encoder=pointnet")
    assert_refused(done, str(tmp_path / "no" / "modelnet"), "is missing", "configs/embedded.py:s2c")
    assert not (tmp_path / "run").exists()


def test_without_flags_it_says_what_to_give():
    assert_refused(run("train.py"), "Give --config configs/embedded.py:s2c and --workdir")
