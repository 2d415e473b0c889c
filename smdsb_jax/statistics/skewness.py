"""Skewness of the saliency map: the statistic of SM-DSB."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample


def skewness(sample: Sample) -> Float[Array, ""]:
    """Third standardized moment of the saliency map, population form   [SM-DSB, arXiv:2504.15796, III-C].

    mean((s - mean s)^3) / std(s)^3; 0 where the spread of the map is rounding (std < 1e-6 max|s|), NaN
    where the map is not finite: the selector keeps such a sample last.
    """
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(sample.saliency)))
    s = sample.saliency / jnp.where(scale > 0, scale, 1.0)  # late gradients are 1e-8: cubes would underflow
    deviation = s - jnp.mean(s)
    variance = jnp.mean(deviation**2)
    spread = variance > 1e-12
    z = deviation / jnp.sqrt(jnp.where(spread, variance, 1.0))  # both branches finite, for the gradient
    constant = jnp.where(jnp.isfinite(scale), 0.0, jnp.nan)  # NaN has no spread either
    return jnp.where(spread, jnp.mean(z**3), constant)
