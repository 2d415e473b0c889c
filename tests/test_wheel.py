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

config = smdsb_jax.default_config()
smdsb_jax.choose(config, "encoder", "pointnet")
smdsb_jax.choose(config, "pretext", "none")
config.data.name, config.data.source, config.data.target = "embedded", "catalog", "blend"
config.encoder.update({"input_tnet": False, "feature_tnet": False, "layers": (8, 8), "embedding": 16})
config.data.points = 64
config.batch_size = 8
config.stages, config.stage1.steps = (1,), 2  # what the wheel lacks would show in one stage; compiles once
smdsb_jax.train_and_evaluate(config, workdir)

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
    for name in ("pyproject.toml", "requirements.txt", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "smdsb_jax", source / "smdsb_jax", ignore=shutil.ignore_patterns("__pycache__"))
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, source, cwd=tmp_path)
    (wheel,) = wheels.glob("smdsb_jax-*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--target", installed, wheel, cwd=tmp_path)
    assert sorted(p.name for p in installed.iterdir() if not p.name.endswith("-info")) == ["smdsb_jax"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = run(
        "-c", USE, installed, tmp_path / "run", cwd=elsewhere, PYTHONPATH=str(installed), XLA_FLAGS=QUICK
    )
    assert out.splitlines()[-1] == "scored True"
