import jax.numpy as jnp
import numpy as np

from smdsb_jax.combine.weights import by_gram, by_losses, scale_of
from tests.combine.merging import G_1, G_2, merge


def test_a_gram_rule_gets_the_inner_products_of_any_scale_and_gives_weights():
    seen = []

    def weights_of(key, gram, present):
        seen.append((np.asarray(gram), np.asarray(present)))
        return jnp.array([2.0, 0.5])

    for scale in (1.0, 1e-6):
        merged = merge(by_gram(weights_of), np.multiply(scale, G_1), np.multiply(scale, G_2))
        np.testing.assert_allclose(merged.encoder, scale * np.array([1.5, 0.5]))
        np.testing.assert_allclose(seen[-1][0], [[0.5, -0.5], [-0.5, 1.0]], rtol=1e-6)
        assert seen[-1][1].all() and merged.head_weights is None
    np.testing.assert_array_equal(merged.weights, [2.0, 0.5])


def test_a_rule_of_losses_weighs_heads_and_gives_a_lone_task_its_own_gradient():
    rule = by_losses(jnp.zeros, lambda told, present, state: (told.losses, state + present), True)
    merged = merge(rule, G_1, G_2, losses=[3.0, 2.0])
    np.testing.assert_allclose(merged.encoder, [1, 2])
    np.testing.assert_allclose(merged.head_weights, [3, 2])
    alone = merge(rule, G_1, (0, 0), losses=[3.0, 2.0], state=merged.state)
    np.testing.assert_array_equal(alone.encoder, G_1)
    np.testing.assert_array_equal(alone.head_weights, [1, 1])
    np.testing.assert_array_equal(alone.weights, [1, 0])
    np.testing.assert_array_equal(alone.state, [2, 1])


def test_a_sum_is_the_mean_times_the_tasks_that_are_there():
    present = jnp.array([True, False, True])
    assert scale_of("sum", present) == 2 and scale_of("mean", present) == 1
