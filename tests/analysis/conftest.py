"""Tiny runs that the tests of the laboratory share, each trained once per process."""

from types import SimpleNamespace

import pytest

from smdsb_jax.analysis import examine
from smdsb_jax.analysis.conflict import agreements
from smdsb_jax.analysis.subject import find_checkpoints, open_subject
from smdsb_jax.run.loop import train_and_evaluate
from tests.tiny_run import tiny_config

# after fewer steps most of so thin a network is dead in inference mode
FIELDS = {"stage1__steps": 40, "eval_every": 20, "keep_checkpoints": 9}
SETTINGS = examine.Settings(samples=16, pool=32)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Both stages of DefRec, seed 0."""
    folder = tmp_path_factory.mktemp("runs") / "seed=0"
    return train_and_evaluate(tiny_config(**FIELDS), folder).workdir


@pytest.fixture(scope="session")
def other_seed(tmp_path_factory):
    """Its first stage with another seed."""
    folder = tmp_path_factory.mktemp("runs") / "seed=1"
    return train_and_evaluate(tiny_config(seed=1, stages=(1,), **FIELDS), folder).workdir


@pytest.fixture(scope="session")
def source_only(tmp_path_factory):
    return train_and_evaluate(
        tiny_config("source_only", stage1__steps=1), tmp_path_factory.mktemp("s")
    ).workdir


@pytest.fixture(scope="session")
def subjects(run):
    """Of the last checkpoint of stage 1 and of stage 2."""
    return {found.stage: open_subject(found) for found in find_checkpoints(run)}


@pytest.fixture(scope="session")
def measured(subjects):
    """What `agreements` finds of stage 1, of which samples, and how often it ticked."""
    drawn, ticks = examine.draw(subjects[1], SETTINGS), []
    found = agreements(subjects[1], drawn.rows, drawn.measured, 0, ticks.append)
    return SimpleNamespace(found=found, drawn=drawn, ticks=ticks)
