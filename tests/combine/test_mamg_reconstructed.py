import numpy as np

from smdsb_jax.combine.mamg_reconstructed import mamg_reconstructed
from smdsb_jax.combine.mgda import mgda
from tests.combine.merging import G_1, G_2, merge, merge_each, random_rows


def as_released(gradients):
    """The published code's loop over ordered pairs."""
    g = [np.array(x) for x in gradients]
    for i in range(len(g)):
        for j in range(len(g)):
            if i != j and g[i] @ g[j] < 0:
                apart = np.linalg.norm(g[i] - g[j])
                delta = g[i] @ (g[i] - g[j]) / apart - g[j] @ (g[j] - g[i]) / apart
                g[i] = g[i] - min(abs(delta), 0) * (g[j] - g[i]) / apart
    return g


def test_the_released_rule_returns_its_inputs():
    for rows in random_rows(3):
        np.testing.assert_array_equal(as_released(rows), rows)


def test_in_conflict_it_is_twice_mgda_and_the_sum_otherwise():
    np.testing.assert_allclose(merge(mamg_reconstructed(), G_1, G_2).encoder, (0.4, 0.8), atol=1e-6)
    draws = random_rows(2, draws=200)
    conflict = np.einsum("nd,nd->n", *draws.swapaxes(0, 1)) < 0
    assert conflict.sum() > 80
    expected = np.where(conflict[:, None], merge_each(mgda(), draws), draws.sum(1))
    np.testing.assert_allclose(merge_each(mamg_reconstructed(), draws), expected, atol=1e-5)


def test_three_tasks_of_which_two_are_in_conflict():
    rows = [(1, 0, 0), (-1, 1, 0), (0, 0, 1)]
    np.testing.assert_allclose(merge(mamg_reconstructed(), *rows).encoder, (0.4, 0.8, 1), atol=1e-6)
