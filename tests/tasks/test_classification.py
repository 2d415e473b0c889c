import jax.numpy as jnp
import numpy as np
import scipy.special

from smdsb_jax.augment import Mixed
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
