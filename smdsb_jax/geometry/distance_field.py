"""The distance to a cloud, and how far apart its points lie; `jax.vmap` outside for a batch.

All are constants to differentiation.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.geometry.neighbors import knn


def nearest_distance(queries: Float[Array, "q 3"], points: Float[Array, "n 3"]) -> Float[Array, " q"]:
    """Distance of each query to the nearest point; exactly 0 on a point.

    By differences, which compile to one loop without an array of all pairs. (|q|^2 - 2qp + |p|^2 rounds near
    a point; its matrix product has 3 terms only and its q x n results go through memory on a GPU.)
    """
    queries, points = jax.lax.stop_gradient((queries, points))
    x, y, z = ((points[:, None, i] - queries[None, :, i]) ** 2 for i in range(3))
    return jnp.sqrt(jnp.min(x + y + z, axis=0))


def spacing(points: Float[Array, "n 3"], neighbors: int = 3) -> Float[Array, " n"]:
    """Root mean square distance of each point to the nearest `neighbors` others; copies of it are others.

    Raises:
      ValueError: neighbors < 1 or neighbors >= n.
    """
    n = points.shape[0]
    if not 1 <= neighbors < n:
        raise ValueError(
            f"spacing: {neighbors} neighbors of {n} points; needs 1 <= neighbors < points. Raise data.points."
        )
    points = jax.lax.stop_gradient(points)
    # among the neighbors + 1 nearest is the point itself, or copies instead: either adds 0
    difference = points[knn(points, neighbors + 1)] - points[:, None]
    return jnp.sqrt(jnp.sum(difference**2, axis=(1, 2)) / neighbors)


def sparsest_spacing(points: Float[Array, "n 3"], neighbors: int = 3, count: int = 20) -> Float[Array, ""]:
    """Mean of the `count` largest spacings, of all where there are fewer: how coarse the sparsest part is.

    Raises:
      ValueError: neighbors < 1 or neighbors >= n.
    """
    largest, _ = jax.lax.top_k(spacing(points, neighbors), min(count, points.shape[0]))
    return jnp.mean(largest)
