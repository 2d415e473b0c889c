"""MGDA: the shortest vector of the gradients' convex hull."""

import jax
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import shortest_in_simplex
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import SCALES, by_gram, scale_of
from smdsb_jax.registry import lookup


def mgda(*, scale: str = "sum") -> Combine:
    """G = Σ_k w_k g_k, w = argmin ‖Σ_k w_k g_k‖ in the simplex: no task loses, and 0 where none can gain.

    For two tasks w_1 = clip((g_2 - g_1) · g_2 / ‖g_1 - g_2‖², 0, 1); for more, pairs of weights move in turn,
    50 times. A short gradient has most of the weight.   [Désidéri 2012; Sener & Koltun, arXiv:1810.04650]

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
        return scale_of(scale, present) * shortest_in_simplex(gram, present)

    return by_gram(weights_of)
