"""Rules that merge by one weight per task, Σ_k w_k g_k: only how the weights come about is a rule's own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.combine.algebra import ABSENT, gram, squared_norms, weighed_sum
from smdsb_jax.combine.base import Combine, Merged, Told
from smdsb_jax.state import Tree

# of rules that are published as a mean of the tasks: whether times their number
SCALES = {"sum": True, "mean": False}


def by_gram(
    weights_of: Callable[[jax.Array, Float[Array, "tasks tasks"], Bool[Array, " tasks"]], Array],
) -> Combine:
    """A rule without state whose weights follow from the gradients' inner products.

    Args:
      weights_of: (key, Gram matrix, which tasks are present) -> weights. The matrix is divided by its largest
        entry, so the weights may not depend on the gradients' common scale.
    """

    def update(key: jax.Array, gradients: tuple[Tree, ...], told: Told, state: Tree) -> Merged:
        del told
        matrix = gram(gradients)
        present = jnp.diag(matrix) > ABSENT
        largest = jnp.max(jnp.diag(matrix))
        matrix = matrix / jnp.where(largest > ABSENT, largest, 1.0)
        return merge(gradients, present, weights_of(key, matrix, present), state)

    return Combine(init=lambda params, tasks: (), update=update)


def by_losses(
    start: Callable[[int], Tree],
    weights_of: Callable[[Told, Bool[Array, " tasks"], Tree], tuple[Array, Tree]],
    weight_heads: bool,
) -> Combine:
    """A rule whose weights follow from the losses, or from what else it is told, of this step and of earlier.

    Args:
      start: number of tasks -> first state.
      weights_of: (told, which tasks are present, state) -> weights of this step, next state. What the state
        has of an absent task is to stay as it is.
      weight_heads: whether the heads' gradients are weighed too, as by a weight of the loss.
    """

    def update(key: jax.Array, gradients: tuple[Tree, ...], told: Told, state: Tree) -> Merged:
        del key
        present = squared_norms(gradients) > ABSENT
        weights, state = weights_of(told, present, state)
        return merge(gradients, present, weights, state, weight_heads)

    return Combine(init=lambda params, tasks: start(len(tasks)), update=update)


def merge(
    gradients: tuple[Tree, ...],
    present: Bool[Array, " tasks"],
    weights: Float[Array, " tasks"],
    state: Tree,
    weight_heads: bool = False,
) -> Merged:
    """The weighed sum. A task that is present alone has weight 1: its gradient is returned as it is."""
    alone = jnp.sum(present) <= 1
    heads = jnp.where(alone, 1.0, weights) if weight_heads else None
    weights = jnp.where(alone, present.astype(weights.dtype), weights)
    return Merged(weighed_sum(gradients, weights), state, heads, weights=weights)


def scale_of(scale: str, present: Bool[Array, " tasks"]) -> Array | float:
    """What a mean of the present tasks is multiplied by: 1, or their number to match the summed loss."""
    return jnp.sum(present) if SCALES[scale] else 1.0


def first_losses(
    first: Float[Array, " tasks"],
    losses: Float[Array, " tasks"],
    present: Bool[Array, " tasks"],
    steps: Int[Array, " tasks"],
    count: int,
) -> Float[Array, " tasks"]:
    """The mean loss of each task's first `count` steps, or of those so far; `steps` has this one in it."""
    early = present & (steps <= count)
    return jnp.where(early, first + (losses - first) / jnp.maximum(steps, 1), first)
