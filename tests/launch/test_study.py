"""The study's tables and errors, with a stand-in for launch/train.py that leaves one tiny run's folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smdsb_jax import resolve
from smdsb_jax.flags import load_config
from smdsb_jax.summary import selected_rows
from smdsb_jax.train_loop import train_and_evaluate
from tests.tiny_run import tiny_config

ROOT = Path(__file__).parents[2]
STAND_IN = """
import json, pathlib, shutil, sys
runs, workdir = {runs}, pathlib.Path(sys.argv[sys.argv.index("--workdir") + 1])
if "seed=1" in workdir.name and "source_only" in workdir.name and {fails}:
    raise FloatingPointError("Stage 1, step 7: loss/class = nan.")
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + chr(10))
shutil.copytree(runs["seed=1" in workdir.name], workdir, dirs_exist_ok=True)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tiny runs, for seed 0 and all others."""
    folder = tmp_path_factory.mktemp("runs")
    return [str(train_and_evaluate(tiny_config(seed=s), folder / f"{s}").workdir) for s in range(2)]


def study(tmp_path, runs, *flags, fails=False):
    """The command beside the stand-in: (process, command lines of the runs)."""
    (tmp_path / "launch").mkdir(exist_ok=True)
    shutil.copy(ROOT / "launch" / "study.py", tmp_path / "launch")
    log = tmp_path / "log"
    stand_in = STAND_IN.format(runs=runs, fails=fails, log=str(log))
    (tmp_path / "launch" / "train.py").write_text(stand_in)
    command = [sys.executable, "-W", "ignore", "launch/study.py", "--workdir=runs", "--seeds=2", *flags]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    return done, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def configs_of(lines):
    """What each command line asks for, by the real configuration files."""
    for _, config, _, _, *fields in lines:
        found = load_config(str(ROOT / "configs" / config.rpartition("/")[2]))
        for path, value in (word.removeprefix("--config.").split("=") for word in fields):
            section, name = path.split(".")
            found[section][name] = value
        yield resolve(found)


def cells(text):
    lines = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| "))
    return {(name, stage): values for name, stage, *values in lines}


def test_methods_with_the_sample_deviation_over_seeds(tmp_path, runs):
    done, lines = study(tmp_path, runs)
    assert done.returncode == 0, done.stderr[-2000:]
    last = [
        {row.stage: 100 * row.target_test for row in selected_rows(run) if row.selection == "last"}
        for run in runs
    ]
    table = cells(done.stdout)
    assert table["last step, target test, %", "stage"] == ["c2b", "c2s"]
    for stage in (1, 2):
        values = [last[0][stage], last[1][stage]]
        spread = abs(values[0] - values[1]) / np.sqrt(2)
        expected = f"{np.mean(values):.1f} ± {spread:.1f}"
        assert table["DefRec + SM-DSB", str(stage)] == [expected, expected]
    assert len(lines) == 12
    found = [(c.pretext.name, c.selection.statistic, c.seed, c.stage1.steps) for c in configs_of(lines)]
    kinds = [("none", "none"), ("defrec", "none"), ("defrec", "skewness")]
    assert found == [(*kind, seed, 100) for seed in range(2) for _ in range(2) for kind in kinds]


def test_selection_varies_execution_scope_and_saliency_alone(tmp_path, runs):
    done, lines = study(tmp_path, runs, "--table=selection", "--directions=c2s")
    assert done.returncode == 0, done.stderr[-2000:]
    ways = []
    for config in configs_of(lines[:5]):
        ways.append(f"{config.selection.execution}, {config.selection.scope}, {config.saliency.mode}")
        config.selection.update({"execution": "mask", "scope": "pooled"})
        config.saliency.mode = "per_sample"
        assert config == next(configs_of(lines[:1]))
    assert list(cells(done.stdout))[1:] == [(way, stage) for way in ways for stage in "12"]
    assert len(set(ways)) == 5 and len({line[3] for line in lines}) == 10  # a folder each


def test_agreement_of_the_saliency_modes(tmp_path, runs):
    done, lines = study(tmp_path, runs, "--table=agreement", "--directions=c2s")
    assert done.returncode == 0, done.stderr[-2000:]
    table = cells(done.stdout)
    assert table["the same by chance", "1"] == ["75.0 ± 0.0"]  # 6 of 8
    both = float(table["kept by both saliency modes", "1"][0].split()[0])
    assert 50 <= both <= 100 and ("rank correlation of scores", "1") in table  # 6 and 6 of 8 share 4
    assert len(lines) == 2


def test_a_run_that_fails_is_named_with_its_error(tmp_path, runs):
    done, lines = study(tmp_path, runs, "--directions=c2b", fails=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr[-2000:]
    assert (
        "c2b,method=source_only,seed=1 failed: FloatingPointError: Stage 1, step 7: loss/class" in done.stderr
    )
    assert len(lines) == 3
