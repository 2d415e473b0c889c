"""Nodes of one cloud: spread points that stand for their surroundings; `jax.vmap` outside for a batch."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.farthest_points import farthest_point_sampling
from smdsb_jax.geometry.neighbors import nearest

INTERPOLATED = 3  # nodes that a point takes its features from
CLOSEST = 1e-10  # least squared distance: the weight of a node that is the point itself stays finite


def node_seeds(points: Float[Array, "n 3"], count: int) -> Int[Array, " count"]:
    """Indices by farthest point sampling from the point farthest from the mean of all.

    That start depends on the cloud alone: neither on a draw nor on the order of its points.

    Raises:
      ValueError: count < 1 or count > n.
    """
    from_mean = jnp.sum((points - jnp.mean(points, axis=0)[None, :]) ** 2, axis=-1)
    return farthest_point_sampling(points, count, jnp.argmax(from_mean))


def node_members(points: Float[Array, "n 3"], count: int, members: int) -> Int[Array, "count members"]:
    """The points nearest to each seed, itself among them; of a smaller cloud all points, each a node."""
    n = points.shape[0]
    return nearest(points, points[node_seeds(points, min(count, n))], min(members, n))


def interpolation_weights(points: Float[Array, "n 3"], nodes: Float[Array, "m 3"]) -> Float[Array, "n m"]:
    """What share of each node's features a point takes: of the 3 nearest ones ~ 1 / squared distance, else 0.

    Rows sum to 1. Differentiable by both locations, not through which nodes are the nearest.
    [PointNet++, arXiv:1706.02413, Eq. 2]
    """
    squared = jnp.sum((points[:, None, :] - nodes[None, :, :]) ** 2, axis=-1)
    m = nodes.shape[0]
    chosen = nearest(nodes, points, min(INTERPOLATED, m))
    is_chosen = jnp.any(chosen[:, :, None] == jnp.arange(m)[None, None, :], axis=1)
    weight = jnp.where(is_chosen, 1 / jnp.maximum(squared, CLOSEST), 0)
    return weight / jnp.sum(weight, axis=1, keepdims=True)
