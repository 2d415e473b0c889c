import numpy as np
import pytest
import scipy.optimize

from smdsb_jax.combine.cagrad import cagrad
from tests.combine.merging import G_1, G_2, merge, merge_each, random_rows

OTHER = ((1.0, 0.0), (-1.0, 0.5))


@pytest.mark.parametrize(
    "rows, c, rescale, expected",
    [((G_1, G_2), 0.2, 0, (0.1, 0.5)), ((G_1, G_2), 0.4, 0, (0.2, 0.5)),
     ((G_1, G_2), 0.4, 1, (0.17241379, 0.43103448)), ((G_1, G_2), 0.4, 2, (0.14285714, 0.35714286)),
     ((G_1, G_2), 0.5, 0, (0.25, 0.5)), ((G_1, G_2), 0.5, 1, (0.2, 0.4)),
     ((G_1, G_2), 0.5, 2, (0.16666667, 0.33333333)), ((G_1, G_2), 0.9, 0, (0.37464249, 0.74928498)),
     (OTHER, 0.4, 0, (0.07811011, 0.31244045)), (OTHER, 0.4, 1, (0.06733630, 0.26934522)),
     (OTHER, 0.5, 0, (0.08533493, 0.34133974)), (OTHER, 0.5, 1, (0.06826795, 0.27307179)),
     (((1, 0), (3, 0)), 0.5, 0, (3, 0)), (((1, 0), (3, 0)), 0.5, 1, (2.4, 0)),
     (((1, 0), (3, 0)), 0.5, 2, (2, 0)), (((1, 0), (0, 2)), 0.5, 0, (1.05901699, 1)),
     (((1, 0), (-1, 0)), 0.5, 0, (0, 0)), (((1, 0), (1, 0)), 0.5, 0, (1.5, 0)),
     (OTHER, 0.0, 0, (0, 0.25))],
)  # fmt: skip
def test_values_and_symmetry(rows, c, rescale, expected):
    rule = cagrad(c=c, rescale=rescale, scale="mean")
    np.testing.assert_allclose(merge(rule, *rows).encoder, expected, atol=1e-5)
    np.testing.assert_allclose(merge(rule, *rows[::-1]).encoder, expected, atol=1e-5)


def test_it_matches_the_summed_loss():
    np.testing.assert_allclose(merge(cagrad(), G_1, G_2).encoder, (0.4, 0.8), atol=1e-5)


def test_inside_the_simplex_both_tasks_gain_alike():
    found = merge(cagrad(c=0.4), *OTHER).encoder
    np.testing.assert_allclose(found @ OTHER[0], found @ OTHER[1], rtol=1e-4)


def test_three_tasks_have_the_solution_of_its_authors_solver():
    rule = cagrad(c=0.5, rescale=0, scale="mean")
    draws = random_rows(3)
    for rows, found in zip(draws, merge_each(rule, draws), strict=True):
        inner, mean = rows @ rows.T, rows.mean(0)
        radius = 0.5 * np.linalg.norm(mean)
        w = scipy.optimize.minimize(
            lambda w: w @ rows @ mean + radius * np.sqrt(w @ inner @ w), np.full(3, 1 / 3),  # noqa: B023
            bounds=[(0, 1)] * 3, constraints={"type": "eq", "fun": lambda w: 1 - w.sum()}, method="SLSQP",
            options={"ftol": 1e-13},
        ).x  # fmt: skip
        expected = mean + radius * (w @ rows) / np.linalg.norm(w @ rows)
        np.testing.assert_allclose(found, expected, atol=1e-3)
