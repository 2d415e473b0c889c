import math
import sys

import numpy as np
import pytest

from smdsb_jax.validators.snd import density, snd
from tests.validators.made_evidence import P, evidence_of


def test_values():
    assert snd(evidence_of()) == pytest.approx(0.06643815, abs=1e-8)
    assert density(P, 1.0) == pytest.approx(0.67423724, abs=1e-8)
    assert snd(evidence_of([[0.7, 0.3]] * 4)) == pytest.approx(math.log(3))
    assert snd(evidence_of([[1, 0], [1, 0], [0, 1], [0, 1]])) < 1e-6
    assert math.isnan(snd(evidence_of([[0.7, 0.3]])))


def test_many_points_are_thinned_evenly(monkeypatch):
    rows = np.random.default_rng(0).dirichlet(np.ones(3), size=(5, 4))  # 5 clouds of 4 points
    monkeypatch.setattr(sys.modules[density.__module__], "ROWS", 7)
    assert snd(evidence_of(rows)) == pytest.approx(density(rows.reshape(-1, 3)[::3], 0.05))
