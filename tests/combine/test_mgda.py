import numpy as np

from smdsb_jax.combine.mgda import mgda
from tests.combine.merging import G_1, G_2, merge, merge_each, random_rows


def test_the_reference_pair_and_a_dominating_gradient():
    merged = merge(mgda(scale="mean"), G_1, G_2)
    np.testing.assert_allclose(merged.encoder, (0.2, 0.4), atol=1e-6)
    np.testing.assert_allclose(merged.weights, (0.6, 0.4), rtol=1e-5)
    np.testing.assert_allclose(merge(mgda(), G_1, G_2).encoder, (0.4, 0.8), atol=1e-6)
    np.testing.assert_allclose(merge(mgda(scale="mean"), (1, 0), (3, 1)).encoder, (1, 0), atol=1e-6)


def test_two_tasks_have_a_closed_form():
    draws = random_rows(2)
    for (a, b), found in zip(draws, merge_each(mgda(scale="mean"), draws), strict=True):
        w = np.clip((b - a) @ b / ((a - b) @ (a - b)), 0, 1)
        np.testing.assert_allclose(found, w * a + (1 - w) * b, atol=1e-5)


def test_of_three_tasks_each_gains_at_least_the_squared_length():
    draws = random_rows(3)
    for rows, found in zip(draws, merge_each(mgda(scale="mean"), draws), strict=True):
        assert (rows @ found >= found @ found - 1e-4).all()  # what makes it the shortest of the hull
