"""Aligned-MTL: gradients as the nearest ones that are orthogonal and equally long, of the least scale."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import equal_shares
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import SCALES, by_gram, scale_of
from smdsb_jax.registry import lookup


def aligned_mtl(*, scale: str = "sum") -> Combine:
    """G = Σ_k α_k g_k, α = sqrt(λ_min) V Λ^(-1/2) Vᵀ w; V Λ Vᵀ is the Gram matrix, w = 1 / T each.

    Eigenvalues below rounding are left out. λ_min is the smallest that stays; the paper's code has also the
    mean in its place.   [Senushkin et al., arXiv:2305.19000, Algorithm 1]

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
        w = equal_shares(present, gram.dtype)
        values, vectors = jnp.linalg.eigh(gram)
        stays = values > jnp.max(values) * len(gram) * jnp.finfo(gram.dtype).eps
        least = jnp.min(jnp.where(stays, values, jnp.inf))
        factors = jnp.where(stays, jnp.sqrt(least / jnp.where(stays, values, 1.0)), 0.0)
        return scale_of(scale, present) * (vectors @ (factors * (vectors.T @ w)))

    return by_gram(weights_of)
