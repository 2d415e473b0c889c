import numpy as np
import pytest

from smdsb_jax.validators.bnm import bnm
from tests.validators.made_evidence import evidence_of


def test_values():
    assert bnm(evidence_of()) == pytest.approx(0.64467606, abs=1e-8)
    for rows, value in ((np.eye(2), 1), ([[1, 0], [1, 0]], 0.5**0.5), (np.full((2, 2), 0.5), 0.5)):
        assert bnm(evidence_of(rows)) == pytest.approx(value)
