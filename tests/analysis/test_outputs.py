from pathlib import Path

import numpy as np
import pytest

from smdsb_jax.analysis.outputs import by_name, open_run, outputs
from smdsb_jax.datasets.domain import UNLABELLED


def test_outputs_are_of_the_chosen_stage_and_of_labelled_clouds(run):
    opened = open_run(run, stage=1)
    assert opened.model.stage == 1 and opened.name.endswith("seed 0, stage 1") and "→" in opened.name
    split = opened.target.test
    half = split._replace(label=np.where(np.arange(len(split.label)) % 2, split.label, UNLABELLED))
    found = outputs(opened, half, "the test split")
    np.testing.assert_array_equal(found.label, split.label[1::2])
    assert len(found.logits) == len(found.embedding) == len(found.label)
    with pytest.raises(
        ValueError, match="needs labels of the test split, which has none: give a run with such"
    ):
        outputs(opened, split._replace(label=np.full_like(split.label, UNLABELLED)), "the test split")


def test_runs_of_one_name_are_told_apart_by_their_folders(run):
    opened = open_run(run, stage=1)
    other = opened._replace(name="other")
    found = by_name([opened, other, opened], [Path("a/x"), Path("b"), Path("a/y")])
    assert list(found) == [f"{opened.name}, x", "other", f"{opened.name}, y"]
