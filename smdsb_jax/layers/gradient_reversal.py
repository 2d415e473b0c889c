"""A node of the graph that turns gradients around, for a game between a loss's parts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def reverse_gradient(
    x: Float[Array, "batch *axes"], factor: Float[Array, " batch"]
) -> Float[Array, "batch *axes"]:
    """The input itself, its derivative -factor, sample by sample   [Ganin & Lempitsky, arXiv:1409.7495].

    The factor is a constant. Forward mode, which analyses use, has the same derivative.
    """
    del factor
    return x


@reverse_gradient.defjvp
def _reverse_gradient_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, factor), (dx, _) = primals, tangents
    return x, -jnp.reshape(factor, (-1, *(1,) * (x.ndim - 1))) * dx
