"""CAGrad: near the mean of the gradients, the direction whose smallest gain among the tasks is largest."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide, shortest_in_simplex
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import SCALES, by_gram, scale_of
from smdsb_jax.registry import check_range, lookup


def cagrad(*, c: float = 0.5, rescale: int = 1, scale: str = "sum") -> Combine:
    """G = g_0 + c ‖g_0‖ g_w / ‖g_w‖; g_0 = mean_k g_k, g_w = Σ_k w_k g_k, w in the simplex.

    w minimizes g_w · g_0 + c ‖g_0‖ ‖g_w‖. For two tasks in closed form; for more, pairs of weights move in
    turn, 50 times.   [Liu et al., arXiv:2110.14048, Algorithm 1; its release rescales and sums]

    Args:
      c: 0 is the mean; towards 1 the shortest vector of the hull, MGDA's. Its scripts have 0.4.
      rescale: what divides G: 0: nothing; 1: 1 + c², as its training code and LibMTL; 2: 1 + c, as its toy.
        Adam hardly sees a common factor, nor the next option.
      scale: `sum`: times the number of tasks, as its release matches the summed loss; `mean`: as LibMTL.

    Raises:
      ValueError: c outside [0, 0.999], another rescale or scale.
    """
    check_range("combine.c", c, 0, 0.999)
    check_range("combine.rescale", rescale, 0, 2)
    lookup(SCALES, scale, "config.combine.scale")
    divisor = (1.0, 1 + c**2, 1 + c)[rescale]

    def weights_of(
        key: jax.Array, gram: Float[Array, "t t"], present: Bool[Array, " t"]
    ) -> Float[Array, " t"]:
        del key
        mean = present / jnp.maximum(jnp.sum(present), 1).astype(gram.dtype)
        of_mean = gram @ mean
        radius = c * jnp.sqrt(jnp.maximum(mean @ of_mean, 0.0))
        w = shortest_in_simplex(gram, present, of_mean, radius)
        squared = w @ gram @ w
        toward = divide(radius, jnp.sqrt(jnp.where(squared > 1e-12, squared, 0.0)))  # the largest norm is 1
        return scale_of(scale, present) * (mean + toward * w) / divisor

    return by_gram(weights_of)
