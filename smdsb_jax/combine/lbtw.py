"""Loss-balanced task weighting: a loss that falls weighs less."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine, Told
from smdsb_jax.combine.weights import by_losses
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Tree


def lbtw(
    *, alpha: float = 0.5, window: int = 100, normalize: bool = True, weight_heads: bool = True
) -> Combine:
    """w_k = (L_k / L_k⁰)^α; L⁰ is the loss of the first batch of the current window of steps.

    Weights that the losses have already, as `pretext.weight`, cancel in the ratio and stay.
    [Liu, Liang & Gitter, AAAI 2019, doi:10.1609/aaai.v33i01.33019977; as released]

    Args:
      alpha: 0 gives 1 each.
      window: in steps; released: an epoch, which a rule does not know. 0: L⁰ is that of the stage's start.
      normalize: whether the weights sum to the number of tasks, as released.
      weight_heads: whether the heads' gradients are weighed too, as by a weight of the loss.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("combine.alpha", alpha, 0, 10)
    check_counts("combine.window", window, 0)

    def begin(tasks: int) -> Tree:
        return {"first": jnp.zeros(tasks), "step": jnp.zeros((), jnp.int32)}

    def weights_of(told: Told, present: Bool[Array, " t"], state: Tree) -> tuple[Float[Array, " t"], Tree]:
        starts = state["step"] % window == 0 if window else state["step"] == 0
        known = (state["first"] > 0) & ~starts
        losses = jnp.maximum(told.losses, 0.0)
        first = jnp.where(present & ~known, losses, state["first"])
        ratio = jnp.where(present, divide(losses, first, otherwise=1.0), 1.0)
        weights = ratio**alpha
        if normalize:
            weights = len(weights) * divide(weights, jnp.sum(weights), otherwise=1 / len(weights))
        return weights, {"first": first, "step": state["step"] + 1}

    return by_losses(begin, weights_of, weight_heads)
