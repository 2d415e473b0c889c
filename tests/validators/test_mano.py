import numpy as np
import pytest

from smdsb_jax.validators.mano import mano, norm_of, taylor_softmax
from tests.validators.made_evidence import P, evidence_of


def test_values():
    assert norm_of(P) == pytest.approx(0.67186696, abs=1e-8)
    np.testing.assert_allclose(taylor_softmax(np.array([[0.0, 1.0, 2.0]])), [[0, 1.5 / 5.5, 4 / 5.5]])
    np.testing.assert_allclose(taylor_softmax(np.zeros((1, 4))), np.full((1, 4), 0.25))


def test_sure_predictions_are_normalized_by_the_softmax_others_by_the_series():
    sure = evidence_of(np.eye(3) * (1 - 1e-12) + 1e-12)  # mean -log softmax 18
    assert mano(sure) == pytest.approx((1 / 3) ** 0.25)
    unsure = evidence_of()
    assert mano(unsure) == pytest.approx(norm_of(taylor_softmax(np.asarray(unsure.target.logits))))
