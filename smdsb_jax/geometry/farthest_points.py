"""Farthest point sampling of one cloud; `jax.vmap` outside for a batch. The indices carry no gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.per_sample import per_sample


def farthest_point_sampling(
    points: Float[Array, "n d"], count: int, start: Int[Array, ""]
) -> Int[Array, " count"]:
    """Indices of `count` points: `start`, then each time the point farthest from all chosen ones.

    The first of equally far points is taken, so when only duplicates of chosen points remain, index 0
    repeats. A shorter sampling is the prefix of a longer one. [Eldar et al., IEEE TIP 1997]

    Raises:
      ValueError: count < 1 or count > n.
    """
    n = points.shape[0]
    if not 1 <= count <= n:
        raise ValueError(
            f"farthest_point_sampling: {count} of {n} points asked; needs 1 <= count <= n. Ask for fewer "
            "points (data.points) or resample the cloud first."
        )

    @per_sample
    def farthest_points(points: Array, start: Array) -> Array:
        def choose(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            distance, chosen = carry
            distance = jnp.minimum(distance, jnp.sum((points - points[chosen][None, :]) ** 2, axis=-1))
            return (distance, jnp.argmax(distance).astype(jnp.int32)), chosen

        far = jnp.full(n, jnp.inf, points.dtype)
        return jax.lax.scan(choose, (far, start.astype(jnp.int32)), length=count)[1]

    return farthest_points(jax.lax.stop_gradient(points), jnp.asarray(start))
