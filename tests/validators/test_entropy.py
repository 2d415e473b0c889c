import numpy as np
import pytest

from smdsb_jax.validators.entropy import entropy
from tests.validators.made_evidence import evidence_of


def test_values():
    assert entropy(evidence_of()) == pytest.approx(-0.49949902, abs=1e-8)
    assert entropy(evidence_of(np.eye(3))) == 0  # 0 log 0
    assert entropy(evidence_of(np.full((2, 4), 0.25))) == pytest.approx(-np.log(4))
