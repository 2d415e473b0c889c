"""MetaBalance: auxiliary gradients are brought towards the length of the classification's."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.combine.algebra import ABSENT, divide, squared_norms, weighed_sum
from smdsb_jax.combine.base import Combine, Merged, Tasks, Told
from smdsb_jax.registry import check_range, lookup
from smdsb_jax.state import Tree

SCOPES = ("tensor", "global")
STRATEGIES = ("both", "shrink", "enlarge")


def metabalance(
    *, r: float = 0.7, beta: float = 0.9, scope: str = "tensor", strategy: str = "both"
) -> Combine:
    """G = g_1 + Σ_k (r m_1 / m_k + 1 - r) g_k; m_k is a running mean of ‖g_k‖, this step's included.

    m ← β m + (1 - β) ‖g‖ from 0, and is divided by 1 - β^(steps of the task), which cancels unless a task
    was absent. A task whose m is 0 has the factor 1; directions, and so conflicts, stay.
    [He et al., arXiv:2203.06801, Algorithm 1; its release stops at a tensor that a task does not reach]

    Args:
      r: 0 is the sum, 1 gives auxiliary gradients the length of the classification's.
      beta: the share of the mean that stays.
      scope: whether each parameter tensor has means and factors of its own, as published, or all have one.
      strategy: `both` is what was released (the paper's C); `shrink` lowers long gradients only (A),
        `enlarge` raises short ones only (B).

    Raises:
      ValueError: r outside [0, 1], beta outside [0, 0.9999], another scope or strategy.
    """
    check_range("combine.r", r, 0, 1)
    check_range("combine.beta", beta, 0, 0.9999)
    lookup(dict.fromkeys(SCOPES), scope, "config.combine.scope")
    lookup(dict.fromkeys(STRATEGIES), strategy, "config.combine.strategy")

    def init(params: Tree, tasks: Tasks) -> Tree:
        zero = jnp.zeros(len(tasks))
        norms = jax.tree.map(lambda leaf: jnp.zeros(len(tasks), leaf.dtype), params)
        return {"norms": norms if scope == "tensor" else zero, "steps": jnp.zeros(len(tasks), jnp.int32)}

    def factors(mean: Float[Array, " t"], steps: Array) -> Float[Array, " t"]:
        corrected = divide(mean, 1 - beta ** steps.astype(mean.dtype))
        ratio = divide(corrected[0], corrected, otherwise=1.0)
        if strategy != "both":
            ratio = (jnp.minimum if strategy == "shrink" else jnp.maximum)(ratio, 1.0)
        return (r * ratio + 1 - r).at[0].set(1.0)

    def update(key: jax.Array, gradients: tuple[Tree, ...], told: Told, state: Tree) -> Merged:
        del key, told
        squared = squared_norms(gradients)
        present = squared > ABSENT
        steps = state["steps"] + present

        def follow(mean: Float[Array, " t"], squared: Float[Array, " t"]) -> Float[Array, " t"]:
            return jnp.where(present, beta * mean + (1 - beta) * jnp.sqrt(squared), mean)

        if scope == "global":
            norms = follow(state["norms"], squared)
            weights = factors(norms, steps)
            merged = weighed_sum(gradients, weights)
        else:
            norms = jax.tree.map(lambda m, *g: follow(m, squared_norms(g)), state["norms"], *gradients)
            scaled = jax.tree.map(lambda m, *g: _scaled(factors(m, steps), g), norms, *gradients)
            of_tasks = jax.tree.transpose(jax.tree.structure(norms), None, scaled)
            merged = weighed_sum(of_tasks, jnp.ones(len(gradients)))
            weights = jnp.sqrt(divide(squared_norms(of_tasks), squared))  # of the whole gradients' lengths
        return Merged(merged, {"norms": norms, "steps": steps}, weights=weights)

    return Combine(init=init, update=update)


def _scaled(factors: Float[Array, " t"], gradients: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(factor * gradient for factor, gradient in zip(factors, gradients, strict=True))
