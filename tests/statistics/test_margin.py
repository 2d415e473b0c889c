import numpy as np
import pytest
import scipy.special

from smdsb_jax.statistics.margin import margin
from tests.statistics.made_samples import sample


@pytest.mark.parametrize("label, expected", [(0, 0.6 - 0.3), (1, 0.3 - 0.6), (2, 0.1 - 0.6)])
def test_values_worked_out_by_hand(label, expected):
    logits = np.log([0.6, 0.3, 0.1]) + 5
    assert float(margin(sample(logits=logits, label=label))) == pytest.approx(expected, abs=1e-6)


def test_at_a_pseudo_label_it_is_the_largest_less_the_second_largest():
    logits = np.random.default_rng(0).normal(size=10)
    top = np.sort(scipy.special.softmax(logits))[::-1]
    result = float(margin(sample(logits=logits, label=np.argmax(logits))))
    assert result == pytest.approx(top[0] - top[1], abs=1e-6)


@pytest.mark.parametrize("logits, expected", [([1e4, 0, 0], 1), ([0, 1e4, 0], -1), ([2, 2, 0], 0)])
def test_sure_and_undecided_predictions(logits, expected):
    assert float(margin(sample(logits=logits))) == expected
