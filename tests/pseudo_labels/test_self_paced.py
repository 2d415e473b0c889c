import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import Evidence
from smdsb_jax.pseudo_labels.self_paced import self_paced
from smdsb_jax.run.labelling import refine, refinement_steps
from smdsb_jax.state import Predictions

KEY = jax.random.key(0)


def evidence(*confidences):
    p = jnp.array(confidences)
    return Evidence(Predictions(jnp.log(jnp.stack([p, 1 - p], axis=1)), jnp.zeros((len(confidences), 4))))


def test_strictly_above_the_threshold_and_the_mean_is_that_of_the_chosen():
    half = evidence(0.5, 0.5, 0.75, 0.99)
    exactly = float(self_paced(threshold=0.0).assign(KEY, half).confidence[2])  # 0.75 as it is computed
    labels = self_paced(threshold=exactly).assign(KEY, half)
    np.testing.assert_allclose(labels.weight, [0, 0, 0, 4])
    loss = jnp.array([5.0, 6.0, 7.0, 3.0])
    assert jnp.mean(labels.weight * loss) == 3


def test_the_published_thresholds_of_ten_rounds():
    rule = self_paced()
    np.testing.assert_array_equal(list(refinement_steps(rule, 1000)), np.arange(100, 1000, 100))
    bars = 0.8 + 0.005 * np.arange(10)  # 0.800, 0.805, ..., 0.845
    clouds = evidence(*(bars - 1e-4), *(bars + 1e-4))
    labels = rule.assign(KEY, clouds)
    for number in range(10):
        expected = np.asarray(clouds.target.logits[:, 0]) > np.log(bars[number])
        np.testing.assert_array_equal(labels.weight > 0, expected)
        if number < 9:
            labels = refine(rule, KEY, labels, clouds, number + 1)


def test_one_of_many_does_not_weigh_as_much_as_all():
    one = evidence(*([0.6] * 99), 0.99)
    assert self_paced().assign(KEY, one).weight[-1] == 10
    assert self_paced(max_weight=1000.0).assign(KEY, one).weight[-1] == 100
    assert (self_paced(threshold=0.0).assign(KEY, one).weight == 1).all()


def test_nothing_chosen_weighs_nothing():
    labels = self_paced(threshold=1.0).assign(KEY, evidence(0.9, 0.6))
    np.testing.assert_array_equal(labels.weight, [0, 0])


@pytest.mark.parametrize("option", [{"threshold": 1.2}, {"rounds": 0}, {"step": 2.0}])
def test_impossible_options_are_refused(option):
    with pytest.raises(ValueError, match=rf"config\.pseudo_labels\.{next(iter(option))}"):
        self_paced(**option)
