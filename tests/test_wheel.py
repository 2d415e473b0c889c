"""The wheel, installed elsewhere, has all it needs: it trains a few steps and scores a cloud."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.processes import QUICK
from tests.tiers import exhaustive

ROOT = Path(__file__).parents[1]

USE = """
import pathlib, sys
import numpy as np
import smdsb_jax
from smdsb_jax.datasets import DATASETS
from smdsb_jax.datasets.domain import Split

installed, workdir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
assert pathlib.Path(smdsb_jax.__file__).is_relative_to(installed), smdsb_jax.__file__

domain = DATASETS["embedded"]("", "blend", points=64)
clouds, label = domain.test.points[:3, :64], domain.test.label[:3]
model = smdsb_jax.load(workdir)
probabilities = smdsb_jax.predict(model, clouds)
scores = smdsb_jax.score(model, "skewness", Split(clouds, label))
assert probabilities.shape == (3, len(domain.classes)) and scores.shape == (3,)
np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
assert np.isfinite(scores).all() and len(set(scores.tolist())) == 3, scores
for page in ("analysis/report.html", "analysis/report.js", *(f"report/{name}" for name in (
    "page.css", "page.js", "viewer.html", "viewer.js"
)), *(f"datasets/bodies/{name}" for name in ("makehuman.npz", "scan.npz", "README.md", "ATTRIBUTION.md"))):
    assert (installed / "smdsb_jax" / page).is_file(), page
print("scored", (workdir / "metrics.jsonl").exists())
"""


def run(*command, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@exhaustive
def test_the_wheel_trains_and_scores_away_from_the_clone(tmp_path):
    source, wheels, installed = tmp_path / "source", tmp_path / "wheels", tmp_path / "installed"
    source.mkdir()  # a copy: building writes beside the sources
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("smdsb_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, source, cwd=tmp_path)
    (wheel,) = wheels.glob("smdsb_jax-*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--target", installed, wheel, cwd=tmp_path)
    found = sorted(p.name for p in installed.iterdir() if not p.name.endswith("-info"))
    assert found == ["bin", "smdsb_jax"] and (installed / "bin" / "smdsb").is_file()
    licences = {p.name for p in installed.rglob("*") if p.name.startswith("LICENSE")}
    assert licences == {"LICENSE", "LICENSES.md"}  # the code's, and the embedded data's
    text = next(installed.glob("*-info/METADATA")).read_text()
    assert "License-Expression: Apache-2.0" in text
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {"PYTHONPATH": str(installed), "XLA_FLAGS": QUICK, "MPLBACKEND": "Agg"}
    thin = ("data.points=64", "batch_size=8", "stages=(1,)", "stage1.steps=2", "encoder.layers=(8,8)")
    thin += ("encoder.embedding=16", "eval_every=10", "log_every=2", "pretext.min_share=0.09375")
    words = ("--config", "embedded:c2b,budget=study", "--workdir", tmp_path / "run")
    trained = run(
        installed / "bin" / "smdsb", "train", *words, *(f"--config.{w}" for w in thin), cwd=elsewhere, **env
    )
    assert "Scores in %, catalog → blend" in trained
    out = run("-c", USE, installed, tmp_path / "run", cwd=elsewhere, **env)
    assert out.splitlines()[-1] == "scored True"
