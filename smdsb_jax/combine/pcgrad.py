"""PCGrad: each task's gradient loses its component against another task's."""

import jax
import jax.numpy as jnp
import optax

from smdsb_jax.combine.base import Combine, Merged
from smdsb_jax.state import Tree


def pcgrad() -> Combine:
    """G = Σ_i p_i; p_i = g_i with, for each j ≠ i, its part along g_j removed where p_i · g_j < 0.

    The projections use the original g_j, all encoder parameters as one vector. The others are visited in a
    random order, which matters from three tasks on.   [Yu et al., arXiv:2001.06782, Algorithm 1]
    """

    def update(key, gradients, told, state):
        del told
        tasks = len(gradients)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)

        def project(i: jax.Array, key: jax.Array) -> Tree:
            def remove_conflict(p: Tree, j: jax.Array) -> tuple[Tree, None]:
                other = _take(stacked, j)
                inner, norm = (
                    jnp.asarray(optax.tree.vdot(p, other)),
                    jnp.asarray(optax.tree.vdot(other, other)),
                )
                absent = (norm <= 1e-24) | (i == j)  # an all-masked batch has a zero gradient
                share = jnp.where(absent, 0.0, jnp.minimum(inner, 0.0) / jnp.where(absent, 1.0, norm))
                return jax.tree.map(lambda a, b: a - share * b, p, other), None

            return jax.lax.scan(remove_conflict, _take(stacked, i), jax.random.permutation(key, tasks))[0]

        projected = jax.vmap(project)(jnp.arange(tasks), jax.random.split(key, tasks))
        return Merged(jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), projected), state)

    return Combine(init=lambda params, tasks: (), update=update)


def _take(stacked: Tree, index: jax.Array) -> Tree:
    return jax.tree.map(lambda leaf: leaf[index], stacked)
