import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine import COMBINE, Told


def trees(seed, tasks=2):
    keys = jax.random.split(jax.random.key(seed), tasks)
    return tuple({"a": jax.random.normal(k, (3, 2)), "b": jax.random.normal(k, (4,))} for k in keys)


def told(tasks):
    names = ("class", *(f"pretext/{i}" for i in range(1, tasks)))
    return Told(names, jnp.ones(tasks), jnp.full(tasks, jnp.nan), jnp.zeros(()))


@pytest.mark.parametrize("name", COMBINE)
@pytest.mark.parametrize("tasks", [2, 3])
def test_every_rule_is_finite_also_for_absent_tasks_and_jits(name, tasks):
    rule = COMBINE[name]()
    gradients = trees(0, tasks)
    known = told(tasks)
    state = rule.init(gradients[0], known.tasks)

    def merge(key, gradients, losses, state):
        return rule.update(key, gradients, known._replace(losses=losses), state)

    chex.clear_trace_counter()
    update = jax.jit(chex.assert_max_traces(merge, 1))
    zero = jax.tree.map(jnp.zeros_like, gradients[0])
    for given in (gradients, (zero, *gradients[1:]), (*gradients[:-1], zero), (zero,) * tasks):
        merged = update(jax.random.key(0), given, jnp.ones(tasks), state)
        state = merged.state
        chex.assert_trees_all_equal_shapes(merged.encoder, gradients[0])
        chex.assert_tree_all_finite(merged)
    first = rule.init(zero, known.tasks)
    lone = merge(jax.random.key(0), (gradients[0], *[zero] * (tasks - 1)), jnp.ones(tasks), first)
    chex.assert_trees_all_close(lone.encoder, gradients[0], rtol=1e-6)
    lowered = jax.jit(merge).trace(jax.random.key(0), gradients, jnp.ones(tasks), state)
    assert lowered.lower(lowering_platforms=("cuda",)).as_text()


def test_sum():
    a, b = trees(1)
    merged = COMBINE["sum"]().update(jax.random.key(0), (a, b), told(2), ())
    chex.assert_trees_all_close(merged.encoder, jax.tree.map(np.add, a, b))
