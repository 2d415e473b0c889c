import numpy as np

from smdsb_jax.validators.base import entropies, per_cloud_loss, probabilities, rows_of


def test_points_are_rows_and_losses_are_of_clouds():
    logits = np.log([[[0.5, 0.5], [0.25, 0.75]], [[0.1, 0.9], [0.2, 0.8]]])
    assert rows_of(logits.astype(np.float32)).dtype == np.float64
    np.testing.assert_allclose(probabilities(logits), [[0.5, 0.5], [0.25, 0.75], [0.1, 0.9], [0.2, 0.8]])
    label = np.array([[0, 1], [0, 0]])
    expected = -np.log([[0.5, 0.75], [0.1, 0.2]]).mean(axis=1)
    np.testing.assert_allclose(per_cloud_loss(logits, label), expected)
    np.testing.assert_allclose(per_cloud_loss(logits[:, 0], label[:, 0]), -np.log([0.5, 0.1]))
    np.testing.assert_allclose(entropies(np.array([[0.5, 0.5], [1.0, 0.0]])), [np.log(2), 0])
