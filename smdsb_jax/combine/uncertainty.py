"""Uncertainty weighting: the weight of a loss is learned as the precision of its task."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.base import Combine, Told
from smdsb_jax.combine.weights import by_losses
from smdsb_jax.registry import check_range, lookup
from smdsb_jax.state import Tree

FACTORS = {"released": 0.5, "classification": 1.0}


def uncertainty(
    *, form: str = "released", learning_rate: float = 1e-3, start: float = -0.5, weight_heads: bool = True
) -> Combine:
    """w_k = exp(-s_k) / 2; s descends on Σ_k L_k exp(-s_k) / 2 + s_k / 2, by an Adam of its own, no decay.

    At the optimum s_k = ln L_k, so that w_k = 1 / (2 L_k). The losses L are meant without weights; they have
    them here: a constant weight, as `pretext.weight`, is a shift of s and learned away in time.
    [Kendall, Gal & Cipolla, arXiv:1705.07115, Eq. 7; as released by MTAN and LibMTL]

    Args:
      form: `released`: so, for every task; `classification`: w_k = exp(-s_k), the paper's of those.
      learning_rate: of s.
      start: of s.
      weight_heads: whether the heads' gradients are weighed too, as by a weight of the loss.

    Raises:
      ValueError: an option out of its range.
    """
    factor = lookup(FACTORS, form, "config.combine.form")
    check_range("combine.learning_rate", learning_rate, 0, 10)
    check_range("combine.start", start, -20, 20)
    optimizer = optax.adam(learning_rate)

    def begin(tasks: int) -> Tree:
        log_variance = jnp.zeros(tasks) + start
        return {"log_variance": log_variance, "optimizer": optimizer.init(log_variance)}

    def weights_of(told: Told, present: Bool[Array, " t"], state: Tree) -> tuple[Float[Array, " t"], Tree]:
        before = state["log_variance"]
        slope = jnp.where(present, jax.grad(objective)(before, told.losses, factor), 0.0)
        updates, optimizer_state = optimizer.update(slope, state["optimizer"])
        after = jnp.where(present, before + updates, before)
        return factor * jnp.exp(-before), {"log_variance": after, "optimizer": optimizer_state}

    return by_losses(begin, weights_of, weight_heads)


def objective(
    log_variance: Float[Array, " t"], losses: Float[Array, " t"], factor: float
) -> Float[Array, ""]:
    """What the log variances descend on."""
    return jnp.sum(factor * jnp.exp(-log_variance) * losses + log_variance / 2)
