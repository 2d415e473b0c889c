import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import Evidence
from smdsb_jax.pseudo_labels.self_paced import double_softmax, self_paced
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
    drawn = self_paced(draw_chosen=True)
    assert drawn.draws_chosen and drawn.assign(KEY, one).weight.tolist() == [0] * 99 + [1]


def test_nothing_chosen_weighs_nothing():
    labels = self_paced(threshold=1.0).assign(KEY, evidence(0.9, 0.6))
    np.testing.assert_array_equal(labels.weight, [0, 0])


@pytest.mark.parametrize("option", [{"threshold": 1.2}, {"rounds": 0}, {"step": 2.0}, {"score": "entropy"}])
def test_impossible_options_are_refused(option):
    with pytest.raises(ValueError, match=rf"config\.pseudo_labels\.{next(iter(option))}"):
        self_paced(**option)


def rest_on_one_class(p, classes=10):
    return jnp.log(jnp.full(classes, 1e-30).at[0].set(p).at[1].set(1 - p))


def rest_even(p, classes=10):
    return jnp.log(jnp.full(classes, (1 - p) / (classes - 1)).at[0].set(p))


@pytest.mark.parametrize(
    ("logits", "value"),
    [
        (jnp.zeros(10), 2.302585),
        (rest_on_one_class(1.0), 1.461150),
        (rest_on_one_class(0.95), 1.549188),
        (rest_even(0.95), 1.551313),
        (rest_on_one_class(0.9), 1.6280),
        (rest_even(0.97), 1.5158),
    ],
)
def test_the_double_softmax_of_known_predictions(logits, value):
    assert double_softmax(logits) == pytest.approx(value, abs=5e-5 if value in (1.6280, 1.5158) else 2e-6)


def test_the_double_softmax_is_the_cross_entropy_with_the_softmax_of_probabilities():
    p = np.random.default_rng(0).dirichlet(np.ones(10), 200)
    expected = -(p * np.log(np.exp(p) / np.exp(p).sum(axis=1, keepdims=True))).sum(axis=1)
    np.testing.assert_allclose(double_softmax(jnp.log(jnp.asarray(p, jnp.float32))), expected, atol=1e-6)


def test_a_low_double_softmax_chooses_with_the_published_threshold_in_every_round():
    rule = self_paced(score="double_softmax", threshold=1.5492, step=0.0, rounds=2)
    logits = jnp.stack([rest_on_one_class(0.95), rest_even(0.95), rest_on_one_class(1.0), jnp.zeros(10)])
    clouds = Evidence(Predictions(logits, jnp.zeros((4, 4))))
    labels = rule.assign(KEY, clouds)
    np.testing.assert_array_equal(labels.weight, [2, 0, 2, 0])
    np.testing.assert_allclose(labels.confidence, [0.95, 0.95, 1, 0.1], rtol=1e-6)  # of the label, as ever
    assert list(refinement_steps(rule, 40)) == [20]
    np.testing.assert_array_equal(refine(rule, KEY, labels, clouds, 1).weight, labels.weight)


def test_a_threshold_that_no_prediction_can_pass_is_refused_before_any_work():
    released = self_paced(score="double_softmax", threshold=0.9)  # the release's own default
    with pytest.raises(
        ValueError, match=r"threshold = 0\.9 would choose no label.* 10 classes is at least 1\.4612"
    ):
        released.check(10)
    published = self_paced(score="double_softmax", threshold=1.5492)
    published.check(10)
    with pytest.raises(ValueError, match=r"12 classes is at least 1\.6187"):
        published.check(12)
    self_paced(threshold=0.9).check(10)
