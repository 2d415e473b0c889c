import numpy as np
import pytest

from smdsb_jax.validators.dev import dev, devn, losses_and_weights, normalized, risk
from tests.validators.made_evidence import random_evidence


def test_the_risk():
    loss = np.array([1.0, 2.0, 4.0])
    assert risk(loss, np.array([0.5, 1.0, 1.5])) == pytest.approx(2.83333333, abs=1e-8)
    assert risk(loss, np.array([1.0, 2.0, 6.0])) == pytest.approx(0.23809524, abs=1e-8)
    shifted = normalized(np.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose(shifted, [2 / 3, 5 / 6, 1.5])
    assert risk(loss, shifted) == pytest.approx(2.77777778, abs=1e-8)
    assert risk(loss, np.ones(3)) == pytest.approx(7 / 3)  # equal weights have no control variate


def test_clouds_that_look_like_the_targets_weigh_more_and_domains_alike_weigh_1():
    evidence = random_evidence(n=40)
    loss, weight = losses_and_weights(evidence)
    toward = evidence.source_val.embedding.mean(axis=1)
    assert np.corrcoef(toward, weight)[0, 1] > 0.5
    assert dev(evidence) == -risk(loss, weight) and devn(evidence) == -risk(loss, normalized(weight))
    alike = evidence._replace(source_train=lambda: evidence.target)
    np.testing.assert_allclose(losses_and_weights(alike)[1], 1, atol=0.2)
