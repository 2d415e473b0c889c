import numpy as np
import pytest

from smdsb_jax.validators.diversity import diversity
from tests.validators.made_evidence import evidence_of


def test_values():
    assert diversity(evidence_of()) == pytest.approx(0.68423177, abs=1e-8)
    assert diversity(evidence_of(np.eye(3))) == pytest.approx(np.log(3))
    assert diversity(evidence_of([[1, 0], [1, 0]])) == pytest.approx(0)
