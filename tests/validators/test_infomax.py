import numpy as np
import pytest

from smdsb_jax.validators.infomax import infomax
from tests.validators.made_evidence import evidence_of


def test_values():
    assert infomax(evidence_of()) == pytest.approx(0.18473274, abs=1e-8)
    assert infomax(evidence_of(np.eye(3))) == pytest.approx(np.log(3))
    for uninformative in ([[1, 0], [1, 0]], [[0.5, 0.5], [0.5, 0.5]]):  # one class, or none
        assert infomax(evidence_of(uninformative)) == pytest.approx(0, abs=1e-12)
