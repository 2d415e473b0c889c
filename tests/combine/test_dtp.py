import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine.dtp import dtp, weight_of
from tests.combine.merging import G_1, G_2, merge


@pytest.mark.parametrize(
    "gamma, expected",
    [(1.0, (0.01053605, 0.34657359, 2.07232658)), (2.0, (0.00105361, 0.17328680, 1.86509393))],
)
def test_the_weight_of_what_is_solved(gamma, expected):
    np.testing.assert_allclose(weight_of(jnp.array([0.9, 0.5, 0.1]), gamma), expected, rtol=2e-5)
    assert 0 < weight_of(jnp.ones(()), gamma) < 2e-4 and np.isfinite(weight_of(jnp.zeros(()), gamma))


def test_what_is_solved_is_a_running_mean_from_the_first_step_on():
    first = merge(dtp(), G_1, G_2, solved=[0.5, 0.9])
    np.testing.assert_allclose(first.weights, weight_of(jnp.array([0.5, 0.9]), 1.0))
    np.testing.assert_array_equal(first.head_weights, first.weights)
    second = merge(dtp(), G_1, G_2, solved=[1.0, 0.9], state=first.state)
    np.testing.assert_allclose(second.state["solved"], (0.55, 0.9), rtol=1e-6)
    absent = merge(dtp(), G_1, (0, 0), solved=[1.0, 0.0], state=second.state)
    assert absent.state["solved"][1] == second.state["solved"][1]


def test_a_task_that_tells_nothing_is_solved_by_its_loss():
    solved = [0.5, jnp.nan]
    state = merge(dtp(rate=1.0), G_1, G_2, solved=solved, losses=[1.0, 2.0]).state
    merged = merge(dtp(rate=1.0, initial_steps=1), G_1, G_2, solved=solved, losses=[1.0, 1.0], state=state)
    np.testing.assert_allclose(merged.state["solved"], (0.5, np.exp(-0.5)), rtol=1e-6)
    merged = merge(dtp(rate=1.0), G_1, G_2, solved=solved, losses=[1.0, 1.0], state=state)
    np.testing.assert_allclose(merged.state["solved"], (0.5, np.exp(-1 / 1.5)), rtol=1e-6)  # of two steps
    off = merge(dtp(unknown="off", normalize=True), G_1, G_2, solved=solved)
    np.testing.assert_allclose(off.weights, np.array([0.34657359, 1]) * 2 / 1.34657359, rtol=1e-6)
