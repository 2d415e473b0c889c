"""FAMO: weights by which the logarithms of all losses fall alike, from the losses alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine, Told
from smdsb_jax.combine.weights import SCALES, by_losses, scale_of
from smdsb_jax.registry import check_range, lookup
from smdsb_jax.state import Tree

LEAST = 1e-8  # that a loss counts as


def famo(
    *,
    learning_rate: float = 0.025,
    decay: float = 0.01,
    pretext_minimum: float = 0.0,
    scale: str = "sum",
    weight_heads: bool = True,
) -> Combine:
    """w_k = c z_k / L_k, z = softmax(ξ), c = 1 / Σ_k z_k / L_k; then ξ ← ξ - β (Jᵀ δ + γ ξ).

    δ_k = ln L_k(before) - ln L_k(after) is what the update brought, J the Jacobian of the softmax. This is
    the cheap form: L(after) is the next step's loss, of another mini-batch, instead of one more forward pass;
    its noise is in δ, of mean 0. ξ moves by plain descent; the release has Adam. Constant weights of the
    losses, as `pretext.weight`, cancel but for c: this rule does without them.
    [Liu et al., arXiv:2306.03792, Algorithm 1]

    Args:
      learning_rate: β.
      decay: γ, which draws ξ to equal shares.
      pretext_minimum: of the pretext tasks' losses, from which they are counted, since logarithms need
        values above 0. Those of `mlsp`'s normals are as low as -`normal_weight`.
      scale: `sum`: times the number of tasks, to match the summed loss; `mean`: as published, Σ_k w_k = 1.
      weight_heads: whether the heads' gradients are weighed too, as by a weight of the loss.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("combine.learning_rate", learning_rate, 0, 10)
    check_range("combine.decay", decay, 0, 10)
    check_range("combine.pretext_minimum", pretext_minimum, -1e6, 0)
    lookup(SCALES, scale, "config.combine.scale")

    def begin(tasks: int) -> Tree:
        zero = jnp.zeros(tasks)
        return {"xi": zero, "losses": zero}  # losses: of the step before; 0 before the first

    def weights_of(told: Told, present: Bool[Array, " t"], state: Tree) -> tuple[Float[Array, " t"], Tree]:
        losses = jnp.maximum(told.losses.at[1:].add(-pretext_minimum), LEAST)
        known = present & (state["losses"] > 0)
        before = jnp.where(known, state["losses"], losses)
        xi = jnp.where(known, improved(state["xi"], before, losses, learning_rate, decay), state["xi"])
        shares = jnp.where(present, jax.nn.softmax(xi) / losses, 0.0)
        weights = scale_of(scale, present) * divide(shares, jnp.sum(shares))
        return weights, {"xi": xi, "losses": jnp.where(present, losses, state["losses"])}

    return by_losses(begin, weights_of, weight_heads)


def improved(
    xi: Float[Array, " t"],
    before: Float[Array, " t"],
    after: Float[Array, " t"],
    learning_rate: float,
    decay: float,
) -> Float[Array, " t"]:
    """ξ after an update of the parameters that took the losses from `before` to `after`."""
    z = jax.nn.softmax(xi)
    gain = jnp.log(before) - jnp.log(after)
    return xi - learning_rate * (z * (gain - z @ gain) + decay * xi)
