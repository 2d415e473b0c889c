"""What holds for every pseudo-label rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import PSEUDO_LABELS, Evidence
from smdsb_jax.pseudo_labels.base import unchanged
from smdsb_jax.state import Predictions

KEY = jax.random.key(0)
CLOUDS = 36  # twelve of each class: more than vote
LABEL = np.arange(CLOUDS) % 3
PREDICTIONS = Predictions(
    4.0 * jax.nn.one_hot(LABEL, 3),
    jax.random.normal(KEY, (3, 8))[LABEL] + 0.1 * jax.random.normal(KEY, (CLOUDS, 8)),
)
EVIDENCE = Evidence(PREDICTIONS, PREDICTIONS, jnp.asarray(LABEL))


@pytest.mark.parametrize("name", PSEUDO_LABELS)
def test_every_rule_labels_with_its_defaults_and_refines_in_one_program(name):
    rule = PSEUDO_LABELS[name](**({"iterations": 60} if name == "graph" else {}))
    labels = rule.assign(KEY, EVIDENCE)
    for progress in (0.25, 0.5):
        np.testing.assert_array_equal(labels.label, LABEL)
        assert (
            labels.label.dtype == jnp.int32 and labels.weight.dtype == labels.confidence.dtype == jnp.float32
        )
        assert (labels.weight >= 0).all() and labels.weight.sum() > 0
        assert rule.may_leave_out or (labels.weight > 0).all()
        assert ((labels.confidence > 0) & (labels.confidence <= 1)).all()
        labels = jax.jit(rule.refine)(KEY, labels, EVIDENCE, jnp.asarray(progress))


@pytest.mark.parametrize("name", PSEUDO_LABELS)
def test_every_rule_lowers_for_gpus(name):
    rule = PSEUDO_LABELS[name]()
    labels = jax.eval_shape(rule.assign, KEY, EVIDENCE)
    progress = jax.ShapeDtypeStruct((), jnp.float32)
    jax.jit(rule.refine).trace(KEY, labels, EVIDENCE, progress).lower(lowering_platforms=("cuda",))


def test_a_rule_that_labels_once_keeps_its_labels():
    labels = PSEUDO_LABELS["max_confidence"]().assign(KEY, EVIDENCE)
    assert unchanged(KEY, labels, EVIDENCE, jnp.asarray(0.5)) is labels
