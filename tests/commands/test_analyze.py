"""The laboratory from the command line."""

import re
import shutil

import pandas as pd
import pytest

from smdsb_jax.statistics import STATISTICS
from tests.processes import run
from tests.tiers import exhaustive

SMALL = ("--samples=8", "--pool=8", "--figure=fig1")
MINE = """
import jax.numpy as jnp

def half_mass(sample):
    mass = jnp.sort(jnp.abs(sample.saliency))[::-1]
    return jnp.mean(jnp.cumsum(mass) < 0.5 * jnp.sum(mass))

def shape(sample):
    return sample.saliency
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, longer_runs):
    """A folder with one run of one stage, and what else may lie there."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(longer_runs[1], folder / "c2s,seed=1")
    (folder / "notes").mkdir()
    (folder / "mine.py").write_text(MINE)
    return folder


def analyze(folder, *flags):
    return run("analyze.py", *flags, cwd=folder, PYTHONPATH=".")


@exhaustive
def test_a_pattern_of_runs_with_a_statistic_of_ones_own(runs):
    done = analyze(runs, "--workdir=*", "--out=lab", "--statistic=mine:half_mass", *SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    samples = "8 + 8 samples in mini-batches of 8, mean gradients of 8 other clouds per domain"
    assert lines[0] == f"[1/1] c2s,seed=1, stage 1, step 40: {samples}"
    first = next(line for line in lines if line.startswith("| source | gain"))
    assert re.fullmatch(rf"\| source \| gain +\| mine:half_mass +\| \d+ of {len(STATISTICS) + 1} .*", first)
    assert "dot_o: no interval, for it takes 5 mini-batches: give more samples, 40 at least." in lines
    assert lines[-1].startswith("Written: lab/report.html; lab/leaderboard.csv, ")
    table = pd.read_csv(runs / "lab" / "leaderboard.csv")
    assert set(table.statistic) == {*STATISTICS, "mine:half_mass", "reference: cos_c", "oracle: cos_o"}
    assert len(table) == 3 * (len(STATISTICS) + 3) * 8 and set(table.samples) == {8}
    own = table[(table.statistic == "oracle: cos_o") & (table.measure == "cos_o")]
    assert (own.spearman > 0.999).all()  # not NaN, as of gradients that are all alike
    assert [p.name for p in (runs / "lab" / "figures").glob("*.svg")] == ["fig1.svg"]
    assert (runs / "lab" / "checks.csv").exists() and (runs / "lab" / "report.html").stat().st_size > 10**6


@pytest.mark.parametrize(
    "flags, words",
    [
        ((), "Give --workdir, the folder of a run"),
        (("--workdir=notes",), "notes is not the workdir of a run: it has no checkpoints/. Give"),
        (("--workdir=absent*",), "absent* is not the workdir of a run"),
        (("--workdir=c2s,seed=1", "--figure=fig0"), "Did you mean 'fig"),
        (("--workdir=c2s,seed=*", "--validators"), "No stage of a run has 3 evaluations with target scores"),
        (("--workdir=c2s,seed=1", "--statistic=skewnes"), "Did you mean 'skewness'?"),
        (
            ("--workdir=c2s,seed=1", "--statistic=mine:shape", *SMALL),
            "The statistic shape returns float32[32] for one",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(runs, flags, words):
    done = analyze(runs, "--out=wrong", *flags)
    assert done.returncode == 2 and words in done.stderr, done.stderr[-2000:]
    assert done.stderr.count("\n") == 1 and not list((runs / "wrong").glob("[!.]*.*"))
