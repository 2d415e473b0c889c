"""A target of which nobody knows a label: what needs one is left out, not made up."""

import numpy as np
import pytest

import smdsb_jax
from smdsb_jax import choose
from smdsb_jax.analysis.subject import find_checkpoints, open_subject
from smdsb_jax.build import load_domains
from smdsb_jax.report.summary import write_summary
from smdsb_jax.run import loop
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.run.records import read_records
from smdsb_jax.scores import splits_of
from tests.processes import run
from tests.shared import step_without_network
from tests.tiny_run import tiny_config


@pytest.fixture
def root(tmp_path):
    """A source of two classes and 20 unlabelled clouds of the target."""
    rng, root = np.random.default_rng(0), tmp_path / "clouds"
    for name, shape in (("cad/train/ball", 10), ("cad/train/rod", 10), ("scan/train", 20)):
        (root / name).mkdir(parents=True)
        for i in range(shape):
            stretch = [1, 1, 5] if name.endswith("rod") else [1, 1, 1]
            np.save(root / name / f"{i}.npy", rng.normal(size=(40, 3)) * stretch)
    return root


def config_of(root, **fields):
    config = choose(tiny_config(stage1__steps=2, stage2__steps=2, eval_every=2, **fields), "data", "folder")
    config.data.update({"root": str(root), "source": "cad", "target": "scan"})
    return config


def test_a_run_without_target_labels(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    workdir = tmp_path / "run"
    assert train_and_evaluate(config_of(root), workdir).finished
    said = capsys.readouterr().out
    assert "Pseudo-labels: 20 of 20 target clouds, mean confidence" in said and "right" not in said
    evaluations = [line for line in said.splitlines() if "  stage " in line and ": accuracy" in line]
    assert len(evaluations) == 2
    assert all(line.endswith(" % on cad (source) validation") for line in evaluations)
    records = read_records(workdir / "metrics.jsonl")
    names = {name for record in records for name in record}
    assert "source_val/accuracy" in names and not any(name.startswith("target_test") for name in names)
    text = write_summary(workdir)
    assert "source validation accuracy" in text and "target test" not in text
    pictures = {path.name for path in workdir.glob("*.png")}
    assert pictures == {"curves.png", "embedding.png", "saliency.png"}  # no confusion without truth
    with pytest.raises(ValueError, match=r"no checkpoint of stage 2 with a score target_test\."):
        smdsb_jax.load(workdir, "oracle")
    assert smdsb_jax.score(workdir, "skewness", "target").shape == (20,)
    refused = run("evaluate.py", "--workdir", workdir)
    assert refused.returncode == 2 and "test split of scan has no labelled clouds" in refused.stderr
    with pytest.raises(ValueError, match=r"training clouds of scan have no labels"):
        open_subject(find_checkpoints(workdir)[0])


def test_a_labelled_test_split_is_scored_and_a_choice_that_needs_it_refused_without(root, tmp_path):
    with pytest.raises(ValueError, match=r"config\.select_by = 'oracle' needs labelled test clouds"):
        train_and_evaluate(config_of(root, select_by="oracle"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (root / "scan" / "test" / "rod").mkdir(parents=True)
    np.save(root / "scan" / "test" / "rod" / "1.npy", np.random.default_rng(1).normal(size=(40, 3)))
    scored = splits_of(*load_domains(config_of(root, select_by="oracle")))
    assert scored["target_test"].label.tolist() == [1]
