import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import Evidence
from smdsb_jax.pseudo_labels.max_confidence import max_confidence
from smdsb_jax.state import Predictions

LOGITS = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9]]))
EVIDENCE = Evidence(Predictions(LOGITS, jnp.zeros((3, 4))))
KEY = jax.random.key(0)


def test_labels_confidences_and_the_threshold():
    found = max_confidence(threshold=0.8).assign(KEY, EVIDENCE)
    np.testing.assert_array_equal(found.label, [0, 1, 2])
    np.testing.assert_allclose(found.confidence, [0.5, 0.8, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(max_confidence(threshold=0.6).assign(KEY, EVIDENCE).weight, [0, 1, 1])


def test_it_labels_once():
    assert max_confidence().refinements == 0


def test_a_threshold_is_a_probability():
    with pytest.raises(ValueError, match=r"config\.pseudo_labels\.threshold = 1\.5"):
        max_confidence(threshold=1.5)
