import math

import numpy as np
import pytest

from smdsb_jax.statistics.el2n import el2n
from tests.statistics.made_samples import sample


@pytest.mark.parametrize("label", [0, 1, 2])
def test_equals_numpy(label):
    probability = np.array([0.6, 0.3, 0.1])
    expected = np.linalg.norm(probability - np.eye(3)[label])
    assert float(el2n(sample(logits=np.log(probability) - 3, label=label))) == pytest.approx(
        expected, rel=1e-6
    )


def test_right_wrong_and_undecided_predictions():
    assert float(el2n(sample(logits=[1e4, 0, 0]))) == 0
    assert float(el2n(sample(logits=[0, 1e4, 0]))) == pytest.approx(math.sqrt(2))
    assert float(el2n(sample(logits=[0.0, 0.0]))) == pytest.approx(math.sqrt(0.5))


def test_sure_samples_still_differ():
    gaps = np.array([20.0, 30.0, 50.0])  # 1 - p_y = 2 exp(-gap) is below float32's resolution of 1
    scores = [float(el2n(sample(logits=[g, 0, 0]))) for g in gaps]
    # the others' exp(-gap) twice, and their sum: sqrt(1 + 1 + 4)
    np.testing.assert_allclose(scores, math.sqrt(6) * np.exp(-gaps), rtol=1e-5)
