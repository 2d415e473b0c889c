import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine import COMBINE


def trees(seed, tasks=2):
    keys = jax.random.split(jax.random.key(seed), tasks)
    return tuple({"a": jax.random.normal(k, (3, 2)), "b": jax.random.normal(k, (4,))} for k in keys)


@pytest.mark.parametrize("name", COMBINE)
@pytest.mark.parametrize("tasks", [2, 3])
def test_every_rule_is_finite_also_for_absent_tasks_and_jits(name, tasks):
    rule = COMBINE[name]()
    gradients = trees(0, tasks)
    state = rule.init(gradients[0])
    chex.clear_trace_counter()
    update = jax.jit(chex.assert_max_traces(rule.update, 1))
    zero = jax.tree.map(jnp.zeros_like, gradients[0])
    for given in (gradients, (zero, *gradients[1:]), (*gradients[:-1], zero), (zero,) * tasks):
        merged, state = update(jax.random.key(0), given, jnp.ones(tasks), state)
        chex.assert_trees_all_equal_shapes(merged, gradients[0])
        chex.assert_tree_all_finite(merged)
    lone, _ = rule.update(
        jax.random.key(0), (gradients[0], *[zero] * (tasks - 1)), jnp.ones(tasks), rule.init(zero)
    )
    chex.assert_trees_all_close(lone, gradients[0], rtol=1e-6)
    lowered = jax.jit(rule.update).trace(jax.random.key(0), gradients, jnp.ones(tasks), state)
    assert lowered.lower(lowering_platforms=("cuda",)).as_text()


def test_sum():
    a, b = trees(1)
    merged, _ = COMBINE["sum"]().update(jax.random.key(0), (a, b), jnp.ones(2), ())
    chex.assert_trees_all_close(merged, jax.tree.map(np.add, a, b))
