import numpy as np
import pytest

from smdsb_jax.validators import VALIDATORS, Validator, find_validator
from tests.validators.made_evidence import random_evidence


@pytest.mark.parametrize("name", VALIDATORS)
def test_every_validator_is_a_finite_number_that_repeats_and_leaves_its_evidence_alone(name):
    evidence = random_evidence()
    before = np.array(evidence.target.logits)
    value = VALIDATORS[name].score(evidence)
    assert type(value) is float and np.isfinite(value)
    assert VALIDATORS[name].score(evidence) == value
    np.testing.assert_array_equal(evidence.target.logits, before)


@pytest.mark.parametrize("name", [name for name, entry in VALIDATORS.items() if not entry.per_cloud])
def test_those_of_points_take_them(name):
    evidence = random_evidence()
    several = lambda found: found._replace(logits=np.stack([found.logits] * 3, axis=1))  # noqa: E731
    of_points = evidence._replace(
        target=several(evidence.target),
        source_val=several(evidence.source_val),
        source_val_label=np.stack([evidence.source_val_label] * 3, axis=1),
    )
    score = VALIDATORS[name].score
    if name in ("snd", "bnm"):  # by neighbors, and by their number
        assert np.isfinite(score(of_points))
    else:  # points that say all the same are as one
        assert score(of_points) == pytest.approx(score(evidence))


def test_a_users_own_is_a_function():
    name = "smdsb_jax.validators.entropy:entropy"
    assert find_validator(name) == Validator(VALIDATORS["entropy"].score)
    with pytest.raises(
        ValueError, match=r"config\.validators\.names = 'sdn' is not known\. Did you mean 'snd'"
    ):
        find_validator("sdn")
    with pytest.raises(ValueError, match="must be a Python function"):
        find_validator("smdsb_jax.validators:VALIDATORS")


# of pytorch-adapt 0.0.83 with pytorch-metric-learning 1.7.3 (mano: of skada 0.6.0, which has the same snd)
ELSEWHERE = {
    "entropy": -0.5517483675621488,
    "diversity": 1.3767478591628544,
    "infomax": 0.8249994916007055,
    "snd": 2.317411359927016,
    "bnm": 0.21309341672674098,
    "class_ami": 0.08622007505279715,
    "class_ss": 0.12703340833306384,
    "mano": 0.4929406694340549,
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_libraries_have_the_same_values(name):
    assert VALIDATORS[name].score(random_evidence()) == pytest.approx(ELSEWHERE[name], abs=1e-12)
