"""How far two samples of vectors are apart as distributions; weights say how much each vector counts.

Weights are divided by their sum on each side, so the sides may differ in size, and a vector of weight 0
might as well not be there. Where a side has no weight at all, the distance is 0 and has no gradient.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.geometry.per_sample import exact_product
from smdsb_jax.state import Pair

MEDIAN_OF = 256  # at most so many vectors: thousands have millions of distances to sort


def squared_mean_discrepancy(
    samples: Pair, weights: Pair, variances: Sequence[float | Float[Array, ""]]
) -> Float[Array, ""]:
    """MMD^2 = sum_ij a_i a_j k(z_i, z_j), k(x, y) = sum_v exp(-|x - y|^2 / (2 v)): the biased estimate.

    z are the vectors of both sides, a their weights, divided by their sum, of the target with a minus. With
    equal weights that is mean k(s, s') + mean k(t, t') - 2 mean k(s, t), pairs of a vector with itself
    included; it is never negative but for rounding.   [Gretton et al., JMLR 2012, Eq. 5]

    Args:
      samples: of source and target, [m, d] and [n, d].
      weights: [m] and [n], not negative.
      variances: v of each Gaussian, unit: coordinate squared.
    """
    both = Pair(*map(shares, weights))
    share = jnp.concatenate(both)
    squared = squared_distances(jnp.concatenate(samples), share)
    kernel = sum((jnp.exp(-squared / (2 * v)) for v in variances), jnp.zeros_like(squared))
    signed = jnp.concatenate([both.source, -both.target])
    return jnp.where(_both_there(weights), signed @ kernel @ signed, 0)


def coral(samples: Pair, weights: Pair) -> Float[Array, ""]:
    """|C_s - C_t|_F^2 / (4 d^2) of the weighted, biased covariances C   [arXiv:1607.01719, Eq. 1].

    Args:
      samples: of source and target, [m, d] and [n, d].
      weights: [m] and [n], not negative.
    """
    source, target = (covariance(z, shares(w)) for z, w in zip(samples, weights, strict=True))
    distance = jnp.sum((source - target) ** 2) / (4 * source.shape[0] ** 2)
    return jnp.where(_both_there(weights), distance, 0)


def covariance(z: Float[Array, "m d"], share: Float[Array, " m"]) -> Float[Array, "d d"]:
    """sum_i w_i (z_i - mean) (z_i - mean)' with weights that sum to 1."""
    centered = z - (share @ z)[None, :]
    return (share[:, None] * centered).T @ centered


def median_squared_distance(samples: Pair, weights: Pair) -> Float[Array, ""]:
    """Of all pairs of different vectors with a weight, of both sides together; a constant to differentiation.

    Of more than MEDIAN_OF vectors, every second or third and so on is taken. 1 where the median is 0, or
    where there is no pair.
    """
    z, weight = (jax.lax.stop_gradient(jnp.concatenate(pair)) for pair in (samples, weights))
    step = -(-z.shape[0] // MEDIAN_OF)
    z, there = z[::step], weight[::step] > 0
    squared = squared_distances(z, shares(there.astype(z.dtype)))
    pair = there[:, None] & there[None, :] & ~jnp.eye(len(z), dtype=bool)
    median = jnp.nanmedian(jnp.where(pair, squared, jnp.nan))
    return jnp.where(median > 0, median, 1)


def squared_distances(z: Float[Array, "m d"], share: Float[Array, " m"]) -> Float[Array, "m m"]:
    """|z_i - z_j|^2 from inner products, about the weighted mean, where they round least; 0 on the diagonal.

    A kernel narrower than this rounding is exact on the diagonal, and 0 elsewhere as it should be.
    """
    center = jax.lax.stop_gradient(share @ z) / jnp.maximum(jnp.sum(share), 1)
    z = z - center[None, :]
    inner = exact_product(z, z)
    norm = jnp.diagonal(inner)
    squared = jnp.maximum(norm[:, None] + norm[None, :] - 2 * inner, 0)
    return jnp.where(jnp.eye(z.shape[0], dtype=bool), 0, squared)


def shares(weight: Float[Array, " m"]) -> Float[Array, " m"]:
    """Divided by their sum; all 0 where that is 0."""
    total = jnp.sum(weight)
    return weight / jnp.where(total > 0, total, 1)


def _both_there(weights: Pair) -> Array:
    return (jnp.sum(weights.source) > 0) & (jnp.sum(weights.target) > 0)
