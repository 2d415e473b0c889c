"""How large the saliency is, whatever its shape; the map is that of [Zheng et al., arXiv:1812.01687]."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import norm, scaled


def saliency_norm(sample: Sample) -> Float[Array, ""]:
    """Euclidean norm of the map, sqrt(Σ s²), in the saliency's unit: nats · length^alpha.

    It follows the size of the loss gradient, so that samples classified with confidence score low.
    """
    return norm(sample.saliency)


def saliency_maximum(sample: Sample) -> Float[Array, ""]:
    """Largest magnitude of the map, max |s|, in the saliency's unit: what the most important point weighs."""
    _, _, zero = scaled(sample.saliency)
    return jnp.max(jnp.abs(sample.saliency)) + zero
