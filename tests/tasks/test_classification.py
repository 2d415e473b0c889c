import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from smdsb_jax.augment import Mixed
from smdsb_jax.encoders import DGCNN
from smdsb_jax.state import Features
from smdsb_jax.tasks.classification import classification, cross_entropy

LOGITS = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
LABEL = np.array([0, 4, 2, 2], np.int32)


def test_cross_entropy_against_scipy_per_cloud_and_per_point():
    expected = -scipy.special.log_softmax(LOGITS, axis=1)[np.arange(4), LABEL]
    np.testing.assert_allclose(cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABEL)), expected, rtol=1e-5)
    of_points = cross_entropy(jnp.asarray(LOGITS.reshape(2, 2, 5)), jnp.asarray(LABEL.reshape(2, 2)))
    np.testing.assert_allclose(of_points, expected.reshape(2, 2), rtol=1e-5)


def test_a_mixed_cloud_has_both_labels_by_their_shares():
    partner = np.array([1, 0, 3, 2])
    mixed = Mixed(jnp.zeros((4, 2, 3)), jnp.asarray(partner), jnp.float32(0.3), jnp.zeros((4, 2), jnp.int32))
    found = classification().mixed_loss(jnp.asarray(LOGITS), jnp.asarray(LABEL), mixed)
    own, other = (cross_entropy(jnp.asarray(LOGITS), jnp.asarray(y)) for y in (LABEL, LABEL[partner]))
    np.testing.assert_allclose(found, 0.3 * own + 0.7 * other, rtol=1e-6)


def test_the_score_is_the_accuracy_and_the_same_task_compiles_once():
    task = classification()
    assert task.scores(LABEL, np.array([0, 4, 2, 1]), 5) == {"accuracy": 0.75}
    assert task == classification() and hash(task) == hash(classification())


def test_the_head_is_the_encoders_own_or_one_dense_layer():
    encoder, x = DGCNN(), jax.random.normal(jax.random.key(1), (3, 1024))
    assert classification().head(encoder, 10, 0.5) == encoder.head(10, 0.5)
    head = classification(head="linear").head(encoder, 10, 0.5)
    found, variables = head.init_with_output(jax.random.key(0), Features(x, ()), train=True)
    kernel, bias = (variables["params"]["out"][name] for name in ("kernel", "bias"))
    assert kernel.shape == (1024, 10) and sum(a.size for a in jax.tree.leaves(variables)) == 10_250
    np.testing.assert_allclose(found, np.asarray(x @ kernel) + np.asarray(bias), atol=1e-5)


def test_another_head_is_refused():
    with pytest.raises(ValueError, match=r"config\.task\.head = 'wide': one of 'published', 'linear'"):
        classification(head="wide")
