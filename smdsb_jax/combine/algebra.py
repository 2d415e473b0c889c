"""Linear algebra of a few gradients, kept as trees: inner products, weighed sums, and small programs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from smdsb_jax.state import Tree

ABSENT = 1e-24  # squared norm of a gradient up to which its task counts as absent, as of an all-masked batch
SWEEPS = 50  # of the programs below for more than two tasks; for two the first one is exact


def gram(gradients: Sequence[Tree]) -> Float[Array, "tasks tasks"]:
    """Inner products of all pairs of gradients, each over all parameters."""
    lower = [[optax.tree.vdot(a, b) for b in gradients[: i + 1]] for i, a in enumerate(gradients)]
    size = range(len(gradients))
    return jnp.array([[lower[max(i, j)][min(i, j)] for j in size] for i in size])


def squared_norms(gradients: Sequence[Tree]) -> Float[Array, " tasks"]:
    """The diagonal of the Gram matrix."""
    return jnp.array([optax.tree.vdot(gradient, gradient) for gradient in gradients])


def weighed_sum(gradients: Sequence[Tree], weights: Float[Array, " tasks"]) -> Tree:
    """Σ_k w_k g_k. A weight of 1 beside zeros gives the gradient itself."""

    def add(*leaves: Array) -> Array:
        total = weights[0] * leaves[0]
        for weight, leaf in zip(weights[1:], leaves[1:], strict=True):
            total += weight * leaf
        return total

    return jax.tree.map(add, *gradients)


def divide(
    numerator: Float[Array, "..."], denominator: Float[Array, "..."], otherwise: float = 0.0
) -> Float[Array, "..."]:
    """The quotient, and `otherwise` where the denominator is not positive."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1.0), otherwise)


def equal_shares(present: Bool[Array, " tasks"], dtype: DTypeLike) -> Float[Array, " tasks"]:
    """1 over their number for each task that is present, 0 for the others."""
    return present / jnp.maximum(jnp.sum(present), 1).astype(dtype)


def shortest_in_simplex(
    gram: Float[Array, "tasks tasks"],
    present: Bool[Array, " tasks"],
    slope: Float[Array, " tasks"] | None = None,
    radius: Float[Array, ""] | float = 1.0,
) -> Float[Array, " tasks"]:
    """argmin_w slope · w + radius ‖Σ_k w_k g_k‖ over w ≥ 0, Σ_k w_k = 1.

    Weight moves between two tasks at a time to the minimum on that line, which has a closed form. With two
    tasks this is the solution, else each pair has its turn `SWEEPS` times. Absent tasks have weight 0.

    Args:
      gram: of the gradients g_k.
      present: the tasks that take part.
      slope: of the linear term; None: 0, which gives the shortest vector of the convex hull.
      radius: at least 0.
    """
    tasks = len(gram)
    pairs = [(i, j) for i in range(tasks) for j in range(i + 1, tasks)]
    slope = jnp.zeros(tasks, gram.dtype) if slope is None else slope

    def sweep(w: Float[Array, " tasks"]) -> Float[Array, " tasks"]:
        for i, j in pairs:  # the weight of both is t and both - t
            both = w[i] + w[j]
            at_0 = w.at[i].set(0.0).at[j].set(both)
            of_0 = gram @ at_0
            squared = gram[i, i] + gram[j, j] - 2 * gram[i, j]  # of u = g_i - g_j
            along = divide(of_0[i] - of_0[j], squared)  # of the point at t = 0, in units of u
            height = jnp.sqrt(jnp.maximum(at_0 @ of_0 - along**2 * squared, 0.0))  # of 0 over the line
            steepness = divide(slope[i] - slope[j], jnp.asarray(radius, gram.dtype))
            left = squared - steepness**2
            inner = -along - divide(steepness * height, jnp.sqrt(squared * jnp.maximum(left, 0.0)))
            t = jnp.where(left > 0, inner, jnp.where(steepness > 0, 0.0, both))
            t = jnp.clip(t, 0.0, both)
            moves = present[i] & present[j] & (squared > 0)
            w = jnp.where(moves, at_0.at[i].set(t).at[j].set(both - t), w)
        return w

    start = equal_shares(present, gram.dtype)
    return sweep(start) if tasks == 2 else jax.lax.fori_loop(0, SWEEPS, lambda _, w: sweep(w), start)


def shortest_above(
    gram: Float[Array, "tasks tasks"], least: Float[Array, " tasks"]
) -> Float[Array, " tasks"]:
    """argmin_v ‖Σ_k v_k g_k‖ over v ≥ `least`, by coordinate descent: exact for two tasks."""

    def sweep(v: Float[Array, " tasks"]) -> Float[Array, " tasks"]:
        for k in range(len(gram)):
            others = gram[k] @ v.at[k].set(0.0)
            v = v.at[k].set(jnp.maximum(divide(-others, gram[k, k]), least[k]))
        return v

    return sweep(least) if len(gram) == 2 else jax.lax.fori_loop(0, SWEEPS, lambda _, v: sweep(v), least)
