import functools

import numpy as np
import pytest

from smdsb_jax import resolve
from smdsb_jax.run import validation
from smdsb_jax.run.evaluation import Evaluated
from smdsb_jax.run.records import read_records
from smdsb_jax.run.validation import Stored, draw
from smdsb_jax.state import Predictions
from smdsb_jax.validators import VALIDATORS, Validator
from tests.tiny_run import tiny_config

rng = np.random.default_rng(0)
STORED = Stored(rng.normal(size=(9, 40, 3)), 1 + rng.normal(size=(20, 40, 3)))
VAL = np.array([0, 1, 2, 2]), Predictions(rng.normal(size=(4, 3)), rng.normal(size=(4, 5)))


def predict(points, seen=None):
    """Of the mean of a cloud's points; it gets the even ones."""
    if seen is not None:
        seen.append(points)
    rows = np.tile(np.arange(0, points.shape[1], 2), (len(points), 1))
    return Evaluated(Predictions(points.mean(axis=1), points.mean(axis=1)), rows)


def scores(names, clouds=8, say=print, predict=predict):
    config = resolve(tiny_config(validators__names=names, validators__clouds=clouds))
    return validation.scores(config, predict, STORED, VAL, say)


def broken(evidence):
    raise KeyError("no such thing")


def test_the_clouds_are_drawn_once_by_the_seed():
    points = np.arange(20.0)[:, None, None] * np.ones((1, 2, 3))
    first = draw(points, 8, seed=3)
    assert len(np.unique(first[:, 0, 0])) == 8
    np.testing.assert_array_equal(first, draw(points, 8, seed=3))
    assert not np.array_equal(first, draw(points, 8, seed=4))
    np.testing.assert_array_equal(draw(points, 99, seed=3), points)


def test_a_validator_sees_what_the_network_got_and_the_source_only_if_it_asks():
    seen = []
    found = scores(("entropy", "snd"), predict=functools.partial(predict, seen=seen))
    assert set(found) == {"validator/entropy", "validator/snd", "classes/target", "classes/source"}
    np.testing.assert_array_equal(seen[0], draw(STORED.target, 8, 0))
    assert len(seen) == 1 and found["classes/source"] == pytest.approx(np.exp(1.5 * np.log(2)))
    config = resolve(tiny_config(validators__clouds=8))
    evidence = validation.gather(config, functools.partial(predict, seen=seen), STORED, VAL)
    np.testing.assert_array_equal(evidence.target_points, seen[0][:, ::2])
    evidence.source_train(), evidence.source_train()
    assert len(seen) == 3 and len(seen[2]) == 8


def test_one_that_raises_is_not_a_number_and_says_why(monkeypatch):
    said = []
    monkeypatch.setitem(VALIDATORS, "dev", Validator(broken))
    found = scores(("dev", "entropy"), say=said.append)
    assert np.isnan(found["validator/dev"]) and np.isfinite(found["validator/entropy"])
    assert said == ["The validator dev raises KeyError: 'no such thing'"]


@pytest.mark.parametrize("names, clouds", [((), 8), (("entropy",), 0)])
def test_none_are_recorded(names, clouds):
    seen = []
    assert scores(names, clouds, predict=functools.partial(predict, seen=seen)) == {} and not seen


def test_a_run_records_them_at_every_evaluation(tiny_run, segmented_run):
    for workdir, names in ((tiny_run, ("entropy", "infomax", "snd")), (segmented_run, ("entropy", "mano"))):
        found = [r for r in read_records(workdir / "metrics.jsonl") if "target_test" in str(r.keys())]
        assert len(found) == 4
        for record in found:
            assert all(np.isfinite(record[f"validator/{name}"]) for name in names)
            assert 1 <= record["classes/target"] <= 8 and record["classes/source"] > 1
