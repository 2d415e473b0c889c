"""Layers of nodes: where a few points of a cloud gather what is around them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.neighbors import nearest, within_radius
from smdsb_jax.geometry.nodes import interpolation_weights, node_members, node_seeds
from smdsb_jax.layers.basic import BatchNorm, Dense, DenseBlock, leaky_relu
from smdsb_jax.layers.edge_conv import neighbor_max


class AdaptiveNodes(nn.Module):
    """Nodes that move to where the features lead them   [PointDAN, Qin et al., arXiv:1911.02744].

    Each seed is moved by the mean over its members of w ∘ (p_m - p_s), w = tanh((x_m - x_s) W). A node's
    features are the maximum, over the points nearest to its new place, of a dense layer's; each point gets
    its own features back beside those of the nodes around it. The offset learns through the latter alone,
    since which points are the nearest has no gradient. The seeds are farthest points from a start that the
    cloud fixes (`node_seeds`), at random in the release.
    """

    nodes: int = 64
    members: int = (
        64  # points of a node, before and after it moves; the release has one number for both counts
    )
    radius: float = 0.3  # of a seed's members
    order: str = "index"  # which members there are first, as for `within_radius`

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch n c"], points: Float[Array, "batch n 3"], *, train: bool
    ) -> tuple[Float[Array, "batch n two_c"], Float[Array, "batch nodes c"]]:
        """The points' features, twice as wide, and the nodes'."""
        steering = Dense(3, use_bias=False, name="offset")(x)
        dense = DenseBlock(x.shape[-1], 0.0, use_bias=True, name="residual")(x, train=train)
        seeds = jax.vmap(functools.partial(node_seeds, count=self.nodes))(points)
        around = functools.partial(within_radius, radius=self.radius, members=self.members, order=self.order)
        seed_points = jax.vmap(rows)(points, seeds)
        locations = jax.vmap(node_locations)(points, steering, seeds, jax.vmap(around)(points, seed_points))
        closest = jax.vmap(functools.partial(nearest, k=self.members))(points, locations)
        features = jax.vmap(neighbor_max)(dense, closest)
        back = jax.vmap(interpolation_weights)(points, locations) @ features
        return jnp.concatenate([x, back], axis=-1), features


def rows(values: Float[Array, "n c"], indices: Int[Array, "*m"]) -> Float[Array, "*m c"]:
    """`values[indices]`, of indices that are found to be inside the array."""
    return values.at[indices].get(mode="promise_in_bounds")


def node_locations(
    points: Float[Array, "n 3"],
    steering: Float[Array, "n 3"],
    seeds: Int[Array, " nodes"],
    members: Int[Array, "nodes members"],
) -> Float[Array, "nodes 3"]:
    """p_s + mean over members of tanh(y_m - y_s) ∘ (p_m - p_s), y = x W being `steering`; of one cloud."""
    seed_points = rows(points, seeds)
    edges = rows(points, members) - seed_points[:, None, :]
    weight = jnp.tanh(rows(steering, members) - rows(steering, seeds)[:, None, :])
    return seed_points + jnp.mean(weight * edges, axis=1)


def pool_at_nodes(
    layers: tuple[Float[Array, "batch n _"], ...], points: Float[Array, "batch n 3"], nodes: int, members: int
) -> list[Float[Array, "batch nodes _"]]:
    """Of each layer the maximum over the points nearest to each farthest point (`node_members`)."""
    around = jax.vmap(functools.partial(node_members, count=nodes, members=members))(points)
    return [jax.vmap(neighbor_max)(x, around) for x in layers]


class NodeAttention(nn.Module):
    """BN(u + u ∘ a), a = sigmoid(W2 ReLU(W1 u)), an eighth as wide between   [PointDAN, arXiv:1911.02744]."""

    @nn.compact
    def __call__(self, u: Float[Array, "batch d"], *, train: bool) -> Float[Array, "batch d"]:
        """Weigh the features of all nodes of a cloud; `train` normalizes by the batch's own statistics."""
        width = u.shape[-1]
        h = leaky_relu(Dense(max(width // 8, 1), name="down")(u), 0.0)
        a = jax.nn.sigmoid(Dense(width, name="up")(h))
        return BatchNorm(width, name="norm")(u + u * a, train=train)
