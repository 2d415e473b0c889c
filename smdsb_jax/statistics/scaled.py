"""What the statistics of a saliency map share: a map free of its scale, its moments, its mass, its size.

Late in training saliencies are some 1e-8, so that their powers would underflow, and in inference mode most
are exactly 0. Here each map is divided by its largest magnitude first, and a map without spread or mass has a
value and a finite gradient. A map that is not finite scores NaN: the selector keeps such a sample last.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def scaled(
    values: Float[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, ""], Float[Array, ""]]:
    """The values / max|values|, that maximum (a constant), and 0, or NaN where the values are not finite."""
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
    zero = jnp.where(jnp.isfinite(scale), jnp.zeros_like(scale), jnp.nan)
    return values / jnp.where(scale > 0, scale, 1.0), scale, zero


def standardized_moment(saliency: Float[Array, " n"], power: int, flat: float) -> Float[Array, ""]:
    """mean(z^power), z = (s - mean s) / std(s); `flat` where the spread is rounding, std < 1e-6 max|s|."""
    s, _, zero = scaled(saliency)
    deviation = s - jnp.mean(s)
    variance = jnp.mean(deviation**2)
    spread = variance > 1e-12
    z = deviation / jnp.sqrt(jnp.where(spread, variance, 1.0))  # both branches finite, for the gradient
    return jnp.where(spread, jnp.mean(z**power), flat + zero)  # NaN has no spread either


def mass(saliency: Float[Array, " n"]) -> Float[Array, " n"]:
    """|s| / Σ|s|, each point's share; equal shares in a map of zeros, which leans on no point."""
    s, _, zero = scaled(jnp.abs(saliency))
    total = jnp.sum(s)
    some = total > 0
    return jnp.where(some, s / jnp.where(some, total, 1.0), 1.0 / s.size + zero)


def norm(values: Float[Array, " n"]) -> Float[Array, ""]:
    """Euclidean norm, also where the squares would leave float32; its gradient at 0 is 0."""
    v, scale, zero = scaled(values)
    squared = jnp.sum(v**2)
    some = squared > 0
    return scale * jnp.where(some, jnp.sqrt(jnp.where(some, squared, 1.0)), zero)
