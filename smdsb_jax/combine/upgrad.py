"""UPGrad: the mean of the gradients, each projected to where it hurts no task."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import equal_shares, shortest_above
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import SCALES, by_gram, scale_of
from smdsb_jax.registry import lookup


def upgrad(*, scale: str = "sum") -> Combine:
    """G = mean_i p_i; p_i is g_i's projection on the cone {x: g_k · x ≥ 0 for all k}.

    p_i = Σ_k v_k g_k with v = argmin ‖Σ_k v_k g_k‖ over v ≥ e_i. For two tasks in closed form, where the sum
    is PCGrad's; for more by 50 rounds of coordinate descent.   [Quinton & Rey, arXiv:2406.16232, Section 2.2]

    Args:
      scale: `sum`: times the number of tasks, to match the summed loss; `mean`: as published.

    Raises:
      ValueError: another scale.
    """
    lookup(SCALES, scale, "config.combine.scale")

    def weights_of(
        key: jax.Array, gram: Float[Array, "t t"], present: Bool[Array, " t"]
    ) -> Float[Array, " t"]:
        del key
        projections = jax.vmap(shortest_above, (None, 0))(gram, jnp.eye(len(gram), dtype=gram.dtype))
        return scale_of(scale, present) * (equal_shares(present, gram.dtype) @ projections)

    return by_gram(weights_of)
