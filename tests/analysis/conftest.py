"""Tiny runs that the tests of the laboratory share, and what is measured of them once per process."""

from types import SimpleNamespace

import pytest

from smdsb_jax.analysis import examine
from smdsb_jax.analysis.conflict import agreements
from smdsb_jax.analysis.subject import find_checkpoints, open_subject
from smdsb_jax.run.loop import train_and_evaluate
from tests.tiny_run import tiny_config

SETTINGS = examine.Settings(samples=16, pool=32)


@pytest.fixture(scope="session")
def run(longer_runs):
    """Both stages of DefRec, seed 0."""
    return longer_runs[0]


@pytest.fixture(scope="session")
def other_seed(longer_runs):
    """Its first stage with another seed."""
    return longer_runs[1]


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
    found = agreements(subjects[1], drawn.rows, drawn.measured, drawn.skipped, 0, ticks.append)
    return SimpleNamespace(found=found, drawn=drawn, ticks=ticks)
