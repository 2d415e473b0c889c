"""Dynamic task prioritization: the task that is solved least weighs most."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine, Told
from smdsb_jax.combine.weights import by_losses, first_losses
from smdsb_jax.registry import check_counts, check_range, lookup
from smdsb_jax.state import Tree

LOWEST, HIGHEST = 0.01, 0.99  # of the indicator, whose logarithm is taken
UNKNOWN = ("loss", "off")


def dtp(
    *,
    gamma: float = 1.0,
    rate: float = 0.1,
    unknown: str = "loss",
    initial_steps: int = 100,
    normalize: bool = False,
    weight_heads: bool = True,
) -> Combine:
    """w_k = -(1 - κ_k)^γ ln κ_k; κ_k is a running mean of what share of the task's samples is solved.

    κ ← a κ_now + (1 - a) κ, from the first step's, in [0.01, 0.99]. κ_now is the accuracy, of a pretext task
    what its loss tells as solved. The formula is confirmed, a and γ are ours. Weights that the losses have
    already, as `pretext.weight`, stay beside w.   [Guo et al., ECCV 2018, Eq. 4]

    Args:
      gamma: γ; larger ones leave solved tasks less.
      rate: a.
      unknown: of a task that tells nothing: `loss`: κ_now = exp(-L / L(0)), a choice of ours; `off`: w = 1.
      initial_steps: L(0) is the mean loss of so many steps, until then of those there are.
      normalize: whether the weights sum to the number of tasks.
      weight_heads: whether the heads' gradients are weighed too, as by a weight of the loss.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("combine.gamma", gamma, 0, 100)
    check_range("combine.rate", rate, 1e-6, 1)
    lookup(dict.fromkeys(UNKNOWN), unknown, "config.combine.unknown")
    check_counts("combine.initial_steps", initial_steps)

    def begin(tasks: int) -> Tree:
        return {"solved": jnp.zeros(tasks), "first": jnp.zeros(tasks), "steps": jnp.zeros(tasks, jnp.int32)}

    def weights_of(told: Told, present: Bool[Array, " t"], state: Tree) -> tuple[Float[Array, " t"], Tree]:
        steps = state["steps"] + present
        first = first_losses(state["first"], told.losses, present, steps, initial_steps)
        tells = jnp.isfinite(told.solved)
        by_loss = jnp.exp(-jnp.maximum(divide(told.losses, first), 0.0))
        now = jnp.where(tells, told.solved, by_loss)
        running = jnp.where(steps == 1, now, rate * now + (1 - rate) * state["solved"])
        solved = jnp.where(present, running, state["solved"])
        weights = weight_of(solved, gamma)
        if unknown == "off":
            weights = jnp.where(tells, weights, 1.0)
        if normalize:
            weights = len(weights) * weights / jnp.sum(weights)
        return weights, {"solved": solved, "first": first, "steps": steps}

    return by_losses(begin, weights_of, weight_heads)


def weight_of(solved: Float[Array, "..."], gamma: float) -> Float[Array, "..."]:
    """The focal loss of what is solved."""
    kept = jnp.clip(solved, LOWEST, HIGHEST)
    return -((1 - kept) ** gamma) * jnp.log(kept)
