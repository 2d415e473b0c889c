import jax.numpy as jnp
import numpy as np

from smdsb_jax.combine.famo import famo
from tests.combine.merging import G_1, G_2, merge


def test_weights_and_the_step_that_the_next_losses_bring():
    rule = famo(scale="mean")
    first = merge(rule, G_1, G_2, losses=[2.0, 1.0])
    np.testing.assert_allclose(first.weights, (1 / 3, 2 / 3), rtol=1e-6)
    np.testing.assert_allclose(first.encoder, (-1 / 3, 2 / 3), rtol=1e-6)
    np.testing.assert_array_equal(first.head_weights, first.weights)
    np.testing.assert_allclose(merge(famo(), G_1, G_2, losses=[2.0, 1.0]).weights, (2 / 3, 4 / 3), rtol=1e-6)
    second = merge(rule, G_1, G_2, losses=[1.8, 0.99], state=first.state)
    np.testing.assert_allclose(second.state["xi"], (-0.00059569, 0.00059569), rtol=1e-3)
    z = np.exp(second.state["xi"]) / np.exp(second.state["xi"]).sum()
    np.testing.assert_allclose(second.weights, z / (1.8, 0.99) / (z / (1.8, 0.99)).sum(), rtol=1e-6)


def test_the_step_is_the_jacobian_of_the_softmax_with_decay():
    xi, gain = np.array([0.3, -0.2]), np.log([2.0, 1.0]) - np.log([1.0, 1.5])
    state = merge(famo(), G_1, G_2, losses=[2.0, 1.0]).state | {"xi": jnp.array(xi)}
    z = np.exp(xi) / np.exp(xi).sum()
    jacobian = np.diag(z) - np.outer(z, z)
    found = merge(famo(), G_1, G_2, losses=[1.0, 1.5], state=state).state["xi"]
    np.testing.assert_allclose(found, xi - 0.025 * (jacobian.T @ gain + 0.01 * xi), rtol=1e-5)


def test_losses_below_zero_are_counted_from_their_minimum_and_absent_ones_stay():
    rule = famo(pretext_minimum=-1.0, scale="mean")
    first = merge(rule, G_1, G_2, losses=[2.0, -0.5])
    np.testing.assert_allclose(first.weights, (0.2, 0.8), rtol=1e-6)
    absent = merge(rule, G_1, (0, 0), losses=[2.0, 0.0], state=first.state)
    assert absent.state["losses"][1] == 0.5
