import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import PSEUDO_LABELS
from smdsb_jax.pseudo_labels.max_confidence import max_confidence

LOGITS = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9]]))
EMBEDDING = jnp.zeros((3, 4))


def test_labels_confidences_and_the_threshold():
    found = max_confidence(threshold=0.8)(LOGITS, EMBEDDING)
    np.testing.assert_array_equal(found.label, [0, 1, 2])
    np.testing.assert_allclose(found.confidence, [0.5, 0.8, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(max_confidence(threshold=0.6)(LOGITS, EMBEDDING).weight, [0, 1, 1])


@pytest.mark.parametrize("name", PSEUDO_LABELS)
def test_every_rule_keeps_all_or_some_with_its_defaults(name):
    found = PSEUDO_LABELS[name]()(LOGITS, EMBEDDING)
    assert found.label.shape == found.weight.shape == (3,) and found.label.dtype == jnp.int32
    assert ((found.weight >= 0) & (found.weight <= 1)).all() and found.weight.sum() > 0


def test_a_threshold_is_a_probability():
    with pytest.raises(ValueError, match=r"config\.pseudo_labels\.threshold = 1\.5"):
        max_confidence(threshold=1.5)
