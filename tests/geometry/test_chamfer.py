import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.chamfer import chamfer_distance, pointwise_distance

chamfer = jax.jit(chamfer_distance)  # op by op, most of the time would be compilation


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_chamfer_of_the_worked_example():
    original, prediction = jnp.array([[0.0, 0, 0], [1, 0, 0]]), jnp.array([[0.0, 0, 0], [3, 0, 0]])
    assert chamfer(original, prediction, jnp.array([True, True])) == 2.5
    assert chamfer(prediction, original, jnp.array([True, True])) == 2.5
    assert chamfer(original, prediction, jnp.array([False, True])) == 8  # 1 <-> 3, both ways


@pytest.mark.parametrize("scale", [1.0, 1000.0])  # far masked points too
def test_chamfer_equals_brute_force_within_the_mask(scale):
    original, prediction, mask = scale * cloud(4, 30, 3), scale * cloud(4, 30, 3, seed=1), cloud(4, 30) > 0.5
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(chamfer_distance))(original, prediction, mask)
    for o, p, m, value in zip(original, prediction, mask, found, strict=True):
        d = cdist(o[m], p[m], "sqeuclidean")
        np.testing.assert_allclose(value, d.min(0).mean() + d.min(1).mean(), rtol=1e-12)


def test_many_points_are_searched_some_at_a_time_and_give_the_same():
    """Two blocks of queries, the second filled up; no array of all pairs."""
    original, prediction, mask = cloud(900, 3), cloud(900, 3, seed=1), cloud(900) > 0.5
    compiled = chamfer.lower(*(jnp.asarray(a) for a in (original, prediction, mask))).compile()
    d = cdist(original[mask], prediction[mask], "sqeuclidean")
    found = compiled(*(jnp.asarray(a) for a in (original, prediction, mask)))
    np.testing.assert_allclose(found, d.min(0).mean() + d.min(1).mean(), rtol=1e-5)
    assert "[900,582]" in compiled.as_text() and "[900,900]" not in compiled.as_text()


def test_chamfer_ignores_the_order_of_points():
    original, prediction, mask = cloud(20, 3), cloud(20, 3, seed=1), cloud(20) > 0
    order = np.random.default_rng(2).permutation(20)
    shuffled = chamfer(original[order], prediction[order], mask[order])
    np.testing.assert_allclose(shuffled, chamfer(original, prediction, mask), rtol=1e-6)


def test_chamfer_gradient_is_exact_and_zero_outside_the_mask():
    with jax.enable_x64(True):
        original, prediction, mask = cloud(12, 3), cloud(12, 3, seed=1), np.arange(12) < 7
        of_prediction = functools.partial(chamfer, original, mask=mask)
        jax.test_util.check_grads(of_prediction, (prediction,), order=2, modes=["fwd", "rev"], rtol=1e-6)
        gradient = jax.grad(of_prediction)(prediction)
    moved = np.any(np.asarray(gradient) != 0, axis=1)
    np.testing.assert_array_equal(moved, mask)


def test_chamfer_of_nearly_coincident_points_does_not_round_away():
    original = cloud(50, 3).astype(np.float32)
    value = chamfer(original, original + np.float32(1e-4), np.ones(50, bool))
    np.testing.assert_allclose(value, 6e-8, rtol=0.01)


def test_chamfer_of_an_empty_mask_is_zero_with_zero_gradients():
    both = jax.value_and_grad(chamfer, (0, 1))
    value, gradients = both(cloud(5, 3), cloud(5, 3, seed=1), np.zeros(5, bool))
    assert value == 0
    assert all(np.all(g == 0) for g in gradients)


def test_chamfer_of_a_prediction_that_is_nan_is_nan():
    assert np.isnan(chamfer(cloud(5, 3), np.full((5, 3), np.nan), np.ones(5, bool)))


def test_a_squeezed_pair_by_hand():
    original = jnp.array([[0.0, 0, 1], [0, 0, -1], [5, 5, 5]])
    flat, swapped = original.at[:, 2].set(0), original[jnp.array([1, 0, 2])]
    mask = jnp.array([True, True, False])
    pointwise = jax.jit(pointwise_distance)
    for distance, of_flat, of_swapped in ((chamfer, 2, 0), (pointwise, 1, 4)):
        assert distance(original, flat, mask) == of_flat
        assert distance(original, swapped, mask) == of_swapped
        assert distance(original, original.at[2].set(7.0), mask) == 0


def test_pointwise_gradient_is_exact_zero_outside_the_mask_and_of_an_empty_mask():
    original, prediction, mask = cloud(12, 3), cloud(12, 3, seed=1), np.arange(12) < 7
    both = jax.jit(jax.value_and_grad(pointwise_distance, 1))
    value, gradient = both(original, prediction, mask)
    difference = np.where(mask[:, None], prediction - original, 0)
    np.testing.assert_allclose(value, (difference**2).sum() / 7, rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * difference / 7, rtol=1e-5)
    value, gradient = both(original, prediction, np.zeros(12, bool))
    assert value == 0 and not gradient.any()
