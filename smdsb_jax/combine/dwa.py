"""Dynamic weight average: the loss that fell least lately weighs most."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine, Told
from smdsb_jax.combine.weights import by_losses
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Tree


def dwa(*, window: int = 100, temperature: float = 2.0, weight_heads: bool = True) -> Combine:
    """w_k = T softmax_k(ρ_k / τ); ρ_k is the ratio of a task's mean losses in the last two windows of steps.

    1 in the first two. Weights that the losses have already, as `pretext.weight`, cancel in ρ and stay.
    [Liu, Johns & Davison, arXiv:1803.10704, Eq. 7]

    Args:
      window: in steps; published: an epoch, which a rule does not know.
      temperature: τ; large ones give 1.
      weight_heads: whether the heads' gradients are weighed too, as by a weight of the loss.

    Raises:
      ValueError: an option out of its range.
    """
    check_counts("combine.window", window)
    check_range("combine.temperature", temperature, 1e-3, 1e6)

    def begin(tasks: int) -> Tree:
        of_window, means = ("sum", "seen"), ("last", "before")
        zeros = {name: jnp.zeros(tasks) for name in (*of_window, *means)}
        return zeros | {"step": jnp.zeros((), jnp.int32)}

    def weights_of(told: Told, present: Bool[Array, " t"], state: Tree) -> tuple[Float[Array, " t"], Tree]:
        ratio = divide(state["last"], state["before"], otherwise=1.0)
        weights = len(ratio) * jax.nn.softmax(ratio / temperature)
        total = state["sum"] + jnp.where(present, told.losses, 0.0)
        seen = state["seen"] + present
        ends = (state["step"] + 1) % window == 0
        has_new = ends & (seen > 0)  # a task that was never there keeps its means
        after = {
            "sum": jnp.where(ends, 0.0, total),
            "seen": jnp.where(ends, 0.0, seen),
            "last": jnp.where(has_new, jnp.maximum(divide(total, seen), 0.0), state["last"]),
            "before": jnp.where(has_new, state["last"], state["before"]),
            "step": state["step"] + 1,
        }
        return weights, after

    return by_losses(begin, weights_of, weight_heads)
