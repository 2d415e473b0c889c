import numpy as np
import scipy.linalg

from smdsb_jax.combine.aligned_mtl import aligned_mtl
from tests.combine.merging import G_1, G_2, merge, merge_each, random_rows


def test_the_reference_pair():
    merged = merge(aligned_mtl(scale="mean"), G_1, G_2)
    np.testing.assert_allclose(merged.weights, (0.55278640, 0.41458980), rtol=1e-5)
    np.testing.assert_allclose(merged.encoder, (0.13819660, 0.41458980), atol=1e-6)
    np.testing.assert_allclose(merge(aligned_mtl(), G_1, G_2).encoder, 2 * merged.encoder, rtol=1e-6)


def test_orthogonal_gradients_of_equal_length_are_averaged_and_equal_ones_too():
    np.testing.assert_allclose(merge(aligned_mtl(scale="mean"), (0, 2), (2, 0)).encoder, (1, 1), rtol=1e-5)
    np.testing.assert_allclose(merge(aligned_mtl(scale="mean"), G_2, G_2).encoder, G_2, rtol=1e-5)


def test_three_random_tasks_follow_the_matrix_root_and_all_gain():
    draws = random_rows(3)
    for rows, found in zip(draws, merge_each(aligned_mtl(), draws), strict=True):
        inner = rows @ rows.T
        root = np.linalg.inv(scipy.linalg.sqrtm(inner).real)
        expected = np.sqrt(np.linalg.eigvalsh(inner)[0]) * (root @ np.ones(3)) @ rows
        np.testing.assert_allclose(found, expected, atol=1e-3)
        assert (rows @ found > 0).all()
