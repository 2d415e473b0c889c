import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine.pcgrad import pcgrad, projected
from tests.combine.merging import G_1, G_2, merge, merge_each, random_rows

THREE = np.array([[1.0, 0, 0], [-1, 1, 0], [-1, -1, 1]])


@pytest.mark.parametrize(
    "rows, expected",
    [((G_1, G_2), (0.5, 1.5)), (((1, 0), (1, 1)), (2, 1)), (((2, 0), (-1, 1)), (1, 2)),
     (((1, 0), (-3, 0)), (0, 0)), (((1, 2, 0), (1, 0, 3)), (2, 2, 3))],
)  # fmt: skip
def test_two_tasks_have_a_closed_form(rows, expected):
    np.testing.assert_allclose(merge(pcgrad(), *rows).encoder, expected, atol=1e-6)


def test_two_random_tasks_follow_it_and_neither_is_hurt():
    draws = random_rows(2)
    for (a, b), found in zip(draws, merge_each(pcgrad(), draws), strict=True):
        d = min(a @ b, 0)
        np.testing.assert_allclose(found, (1 - d / (a @ a)) * a + (1 - d / (b @ b)) * b, atol=1e-5)
        assert found @ a >= -1e-4 and found @ b >= -1e-4


@pytest.mark.parametrize(
    "order, expected",
    [((0, 1, 2), (-2 / 3, 1 / 3, 5 / 3)), ((0, 2, 1), (-2 / 3, 1 / 3, 5 / 3)),
     ((1, 0, 2), (-1 / 6, -1 / 6, 5 / 3)), ((1, 2, 0), (1 / 6, 1 / 6, 4 / 3)),
     ((2, 1, 0), (1 / 6, 1 / 6, 4 / 3)), ((2, 0, 1), (-1 / 3, 2 / 3, 4 / 3))],
)  # fmt: skip
def test_three_tasks_depend_on_the_order(order, expected):
    weights = projected(jnp.array(THREE @ THREE.T), jnp.array([order] * 3))
    np.testing.assert_allclose(np.sum(weights, axis=0) @ THREE, expected, atol=1e-6)


def test_the_orders_are_drawn_for_each_task_by_the_key():
    orders = jnp.array(list(itertools.permutations(range(3))))
    weights = [np.asarray(projected(jnp.array(THREE @ THREE.T), jnp.array([o] * 3))) for o in orders]
    sums = [
        sum(w[i] for i, w in enumerate(chosen)) @ THREE for chosen in itertools.product(weights, repeat=3)
    ]
    found = merge_each(pcgrad(), np.stack([THREE] * 4))
    assert all(min(np.abs(f - s).max() for s in sums) < 1e-5 for f in found)
    assert len({tuple(f) for f in found}) > 1


def test_the_main_gradient_may_be_protected():
    merged = merge(pcgrad(protect_main=True), G_1, G_2)
    np.testing.assert_allclose(merged.encoder, (1, 1), atol=1e-6)
    draws = random_rows(3)
    for (main, *others), found in zip(draws, merge_each(pcgrad(protect_main=True), draws), strict=True):
        freed = [g - min(g @ main, 0) / (main @ main) * main for g in others]
        np.testing.assert_allclose(found, main + sum(freed), atol=1e-5)
