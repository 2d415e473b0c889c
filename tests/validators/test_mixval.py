import numpy as np

from smdsb_jax.state import Predictions
from smdsb_jax.validators.mixval import mixval
from tests.validators.made_evidence import random_evidence


def test_a_network_that_sees_the_larger_part_is_right_everywhere_and_one_that_sees_the_other_is_not():
    n, of_a, seen = 12, np.arange(12) % 3, []
    clouds = np.zeros((n, 20, 3), np.float32)
    clouds[:, :, 0] = of_a[:, None]  # every point says the class of its cloud
    clouds[:, :, 1] = np.arange(20) + 100 * np.arange(n)[:, None]
    logits = np.eye(3)[of_a]
    evidence = random_evidence(n=n)._replace(target=Predictions(logits, None), target_points=clouds)

    def predict_by(place):
        def predict(points):
            seen.append(points)
            return Predictions(np.eye(3)[points[:, place, 0].astype(int)], None)

        return predict

    assert mixval(evidence._replace(predict=predict_by(0))) == 1.0  # the first 11 are its own
    assert mixval(evidence._replace(predict=predict_by(-1))) == 0.5  # right in pairs of the same class alone
    own = (seen[0][:, :, 1] // 100).astype(int) == np.arange(n)[:, None]
    partner = np.random.default_rng(0).permutation(n)
    np.testing.assert_array_equal(own.sum(axis=1), np.where(partner == np.arange(n), 20, 11))
    np.testing.assert_array_equal(seen[0], seen[1])  # the pairs, and their parts, are drawn once
