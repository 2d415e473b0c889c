"""Both frameworks on the same clouds from the same weights, for a few steps."""

import numpy as np
import pytest

from benchmarks import training
from benchmarks.contenders import CONTENDERS, Setting
from benchmarks.training import train, training_table
from tests.tiers import exhaustive


@pytest.fixture
def tiny(monkeypatch):
    narrow = {
        "encoder.embedding": 16, "encoder.layers": (8, 8), "data.points": 32, "batch_size": 16,
        "pretext.min_share": 0.05, "classification.dropout": 0.0,
    }  # fmt: skip
    for name, contender in CONTENDERS.items():
        monkeypatch.setitem(CONTENDERS, name, contender._replace(fields=contender.fields | narrow))


def trained(name):
    return train(name, Setting(), steps=3, seed=0, tick=lambda text: None)


@exhaustive
def test_training_is_recorded_and_the_reference_starts_with_the_same_loss(tiny):
    ours = trained("jax no selection")
    assert len(ours["metrics"]) == len(ours["seconds"]) == 3 and ours["evaluated"] == [1, 2, 3]
    assert all(0 <= share <= 1 for share in ours["target_accuracy"])
    table = training_table([ours])
    assert "3 steps, 1 seeds" in table and "jax no selection" in table
    pytest.importorskip("torch")
    theirs = trained("torch eager no selection")
    losses = [run["metrics"][0]["loss/class"] for run in (theirs, ours)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert theirs["evaluated"] == ours["evaluated"]


def test_all_contenders_see_the_same_clouds(tiny):
    config = training.config_for("jax no selection", 2, seed=0)
    domains = training.load_domains(config)
    parts = training.build_parts(config, 1, len(domains[0].classes))
    first, second = (list(training.augmented_batches(config, parts, domains)) for _ in range(2))
    assert first[0].source.points.shape == (8, 32, 3)
    np.testing.assert_array_equal(first[1].target.points, second[1].target.points)
    assert not np.array_equal(first[0].source.points, first[1].source.points)
