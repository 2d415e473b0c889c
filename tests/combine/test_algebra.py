import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from smdsb_jax.combine.algebra import (
    divide,
    gram,
    shortest_above,
    shortest_in_simplex,
    squared_norms,
    weighed_sum,
)
from tests.combine.merging import random_rows, trees_of


def test_inner_products_and_sums_of_trees_are_those_of_the_whole_vectors():
    (rows,) = random_rows(3, 1)
    trees = trees_of(rows)
    np.testing.assert_allclose(gram(trees), rows @ rows.T, rtol=1e-5)
    np.testing.assert_allclose(squared_norms(trees), (rows**2).sum(1), rtol=1e-5)
    merged = weighed_sum(trees, jnp.array([0.5, -1.0, 2.0]))
    whole = np.concatenate([np.ravel(merged["agg"]), merged["rest"]])[: rows.shape[1]]
    np.testing.assert_allclose(whole, [0.5, -1.0, 2.0] @ rows, rtol=1e-5)


def test_a_quotient_without_a_denominator_is_told_otherwise():
    np.testing.assert_array_equal(divide(jnp.array([6.0, 6.0]), jnp.array([2.0, 0.0]), 7.0), [3, 7])


@pytest.mark.parametrize("tasks", [2, 3])
def test_the_weights_in_the_simplex_are_those_that_a_solver_finds(tasks):
    everyone = jnp.ones(tasks, bool)
    solve = jax.jit(shortest_in_simplex)
    for rows in random_rows(tasks):
        inner = rows @ rows.T
        slope, radius = inner.mean(1), 0.5 * np.linalg.norm(rows.mean(0))

        def height(w, inner=inner, slope=slope, radius=radius):
            return slope @ w + radius * np.sqrt(w @ inner @ w)

        least = scipy.optimize.minimize(
            height, np.full(tasks, 1 / tasks), bounds=[(0, 1)] * tasks, method="SLSQP",
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-12},
        ).fun  # fmt: skip
        found = np.asarray(solve(jnp.array(inner), everyone, jnp.array(slope), jnp.array(radius)))
        assert found.sum() == pytest.approx(1, abs=1e-5) and (found >= 0).all()
        assert height(found) <= least + 1e-5 * abs(least)


def test_an_absent_task_takes_no_part():
    rows = np.array([[1.0, 0, 0], [0, 0, 0], [-1, 1, 0]])
    present = jnp.array([True, False, True])
    np.testing.assert_allclose(
        shortest_in_simplex(jnp.array(rows @ rows.T), present), [0.6, 0, 0.4], rtol=1e-5
    )


@pytest.mark.parametrize("tasks", [2, 3])
def test_the_weights_above_a_bound_are_those_of_a_least_squares_solver(tasks):
    solve = jax.jit(shortest_above)
    for rows in random_rows(tasks):
        for least in np.eye(tasks):
            # v = least + x, x >= 0: the shortest of rowsᵀ v
            expected = least + scipy.optimize.nnls(rows.T, -rows.T @ least)[0]
            found = solve(jnp.array(rows @ rows.T), jnp.array(least))
            np.testing.assert_allclose(rows.T @ found, rows.T @ expected, atol=2e-3)
