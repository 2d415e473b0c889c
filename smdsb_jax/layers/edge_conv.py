"""Edge convolution without the edges: max_j LeakyReLU(BN(W [x_j - x_i, x_i])) from [n, d] arrays.

With W = [W_n; W_c] an edge's value is y_ij = a_i + b_j, a = x (W_c - W_n), b = x W_n: the products cost
n rows instead of n k. Norm and activation are monotone per channel, so only max_j b_j (min_j where the
norm's scale is negative) is needed, and the norm's statistics follow from a, b and sums of b.
The [n, k, d] array exists for a block of points at a time.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.neighbors import knn, nearest
from smdsb_jax.geometry.per_sample import Kernel, linear, per_sample
from smdsb_jax.layers.basic import BatchNorm, Dense, Moments, leaky_relu, product, torch_uniform

POINT_BLOCK = 256  # points whose neighbors are gathered at a time
BLOCK_VALUES = 5 * 2**18  # of [points, k, d] at a time: 5 MiB stay in a CPU's caches, twice as much do not
EDGES = (1, 2, 3)  # axes of a cloud's edges and their channels


class EdgeConv(nn.Module):
    """max_j LeakyReLU(BN(W [x_j - x_i, x_i])), j in kNN(i)   [DGCNN, arXiv:1801.07829, Eq. 8]."""

    features: int
    k: int = 20  # neighbors, the point itself among them
    negative_slope: float = 0.2

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch n d"]:
        """Convolve; `train` normalizes by the batch's own statistics and records them."""
        kernel = self.param("kernel", torch_uniform, (2 * x.shape[-1], self.features))
        norm = BatchNorm(self.features, name="norm")
        neighbors = jax.vmap(functools.partial(knn, k=self.k))(x)
        of_center, of_neighbor = edge_factors(kernel)
        direction = norm.direction()[None, None, :]
        a, b = product(x, of_center), product(x, of_neighbor)
        largest = jax.vmap(neighbor_max)(direction * b, neighbors)
        batch = edge_moments(a, b, neighbors) if train else None
        y = norm(a + direction * largest, train=train, batch=batch)
        return leaky_relu(y, self.negative_slope)


class LinearEdgeConv(nn.Module):
    """max_j of `depth` dense layers with biases, one after the other, of [x_j - x_i, x_i], j in kNN(i).

    Without norm and activation the layers are one linear function of x_i and x_j: the products of their
    kernels factorise as in `EdgeConv`. Each keeps its own parameters.
    """

    features: int
    k: int = 20
    depth: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"]) -> Float[Array, "batch n d"]:
        """Convolve."""
        inputs = 2 * x.shape[-1]
        layers = [Dense(self.features, name=f"dense{i}") for i in range(1, self.depth + 1)]
        widths = [inputs] + [self.features] * (self.depth - 1)
        kernels = [layer.weights(width)[0] for layer, width in zip(layers, widths, strict=True)]
        of_zero = jnp.zeros(inputs, x.dtype)
        for layer in layers:
            of_zero = layer(of_zero)
        neighbors = jax.vmap(functools.partial(knn, k=self.k))(x)
        of_center, of_neighbor = edge_factors(functools.reduce(jnp.matmul, kernels))
        largest = jax.vmap(neighbor_max)(product(x, of_neighbor), neighbors)
        return product(x, of_center) + largest + of_zero[None, None, :]


class LayerNormEdgeConv(nn.Module):
    """max_j LeakyReLU(LN(W [x_j - x_i, x_i])), j in kNN(i), LN over all edges and channels of a cloud.

    Scale and shift are [n, k, d]: those of the edge from point i to its j-th nearest point (the nearest is
    commonly itself). They differ between edges, so the maximum comes last and every edge is needed; the
    order of points matters.   [as GAST's code has it, Zou et al., ICCV 2021; LayerNorm, arXiv:1607.06450]
    """

    features: int
    k: int = 20
    negative_slope: float = 0.2

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"]) -> Float[Array, "batch n d"]:
        """Convolve, in training as in inference."""
        kernel = self.param("kernel", torch_uniform, (2 * x.shape[-1], self.features))
        neighbors = jax.vmap(lambda cloud: nearest(cloud, cloud, self.k))(x)
        of_center, of_neighbor = edge_factors(kernel)
        ends = jax.vmap(neighbor_rows)(product(x, of_neighbor), neighbors)
        y = product(x, of_center)[:, :, None, :] + ends
        norm = nn.LayerNorm(
            epsilon=1e-5, reduction_axes=EDGES, feature_axes=EDGES, use_fast_variance=False, name="norm"
        )
        return jnp.max(leaky_relu(norm(y), self.negative_slope), axis=2)


def edge_factors(kernel: Float[Array, "two_c d"]) -> tuple[Float[Array, "c d"], Float[Array, "c d"]]:
    """(V, W) with [x_j - x_i, x_i] @ kernel = x_i V + x_j W."""
    of_difference, of_center = jnp.split(kernel, 2)
    return of_center - of_difference, of_difference


def edge_moments(
    a: Float[Array, "batch n d"], b: Float[Array, "batch n d"], neighbors: Int[Array, "batch n k"]
) -> Moments:
    """Moments of y_ij = a_i + b_j over all M = batch n k edges, from the points' values alone.

    With n_j edges that end in j, mean = mean_i a_i + sum_j n_j b_j / M; with u and z as a and b less their
    terms of it, var = (k sum_i u_i^2 + 2 sum_i u_i sum_{j in N(i)} z_j + sum_j n_j z_j^2) / M.
    """
    count, k = neighbors.size, neighbors.shape[-1]
    ends = jax.vmap(edges_into)(neighbors).astype(b.dtype)[:, :, None]
    p, q = jnp.mean(a, (0, 1)), jnp.sum(ends * b, (0, 1)) / count
    u, z = a - p[None, None, :], b - q[None, None, :]
    around = jax.vmap(neighbor_sum)(b, neighbors) - k * q[None, None, :]
    var = jnp.sum(u * (k * u + 2 * around) + ends * z**2, (0, 1)) / count
    return Moments(p + q, jnp.maximum(var, 0), count)  # a + b = 0: rounding may go below 0


# Indices found by `knn` are inside the array. Promising it saves the check of every access.
def _rows(b: Array, indices: Array) -> Array:
    return b.at[indices].get(mode="promise_in_bounds")


def _add_rows(out: Array, indices: Array, rows: Array) -> Array:
    return out.at[indices].add(rows, mode="promise_in_bounds")


@jax.custom_jvp
def neighbor_max(b: Float[Array, "n d"], neighbors: Int[Array, "m k"]) -> Float[Array, "m d"]:
    """Per row and channel the maximum of b over the neighbors; its gradient goes to one of equals."""
    return max_over_neighbors(b, neighbors)[0]


@neighbor_max.defjvp
def _neighbor_max_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    largest, winner = max_over_neighbors(*primals)
    return largest, linear(entries_of_winners, _to_winners(primals[0].shape[0]))(tangents[0], winner)


def neighbor_sum(b: Float[Array, "n d"], neighbors: Int[Array, "n k"]) -> Float[Array, "n d"]:
    """Per point and channel the sum of b over the neighbors."""
    return linear(sum_over_neighbors, add_to_neighbors)(b, neighbors)


def neighbor_rows(b: Float[Array, "n d"], neighbors: Int[Array, "n k"]) -> Float[Array, "n k d"]:
    """The neighbors' rows of b, for a layer that must see every edge."""
    return linear(rows_of_neighbors, add_rows_to_neighbors)(b, neighbors)


@per_sample
def max_over_neighbors(b: Array, neighbors: Array) -> tuple[Array, Array]:
    """Kernel: maximum and who has it, the lowest index of equals."""

    def one_point(neighbors: Array) -> tuple[Array, Array]:
        rows = _rows(b, neighbors)
        largest = jnp.max(rows, axis=0)
        # NaN equals nothing: n - 1 keeps the index inside the array
        winner = jnp.where(rows == largest[None, :], neighbors[:, None], len(b) - 1)
        return largest, jnp.min(winner, axis=0)

    fit = max(BLOCK_VALUES // (neighbors.shape[1] * b.shape[1]), 1)
    block = min(POINT_BLOCK, 1 << fit.bit_length() - 1, neighbors.shape[0])
    return jax.lax.map(one_point, neighbors, batch_size=block)


@per_sample
def entries_of_winners(b: Array, winner: Array) -> Array:
    """Kernel: [i, c] is b[winner[i, c], c]."""
    return _rows(b.reshape(-1), _entries(winner)).reshape(winner.shape)


def _to_winners(n: int) -> Kernel:
    @per_sample
    def add_to_winners(gradient: Array, winner: Array) -> Array:
        """Kernel: add [i, c] to entry [winner[i, c], c]."""
        flat = jnp.zeros(n * gradient.shape[1], gradient.dtype)
        return _add_rows(flat, _entries(winner), gradient.reshape(-1)).reshape(n, -1)

    return add_to_winners


def _entries(winner: Array) -> Array:
    """Where [winner[i, c], c] lies in the flattened array."""
    d = winner.shape[1]
    return (winner * d + jnp.arange(d, dtype=winner.dtype)[None, :]).reshape(-1)


# k passes over n rows each: on a CPU 5 times faster than one over n k rows
@per_sample
def sum_over_neighbors(b: Array, neighbors: Array) -> Array:
    """Kernel: [i] is the sum of b's rows neighbors[i]."""
    add = lambda total, column: (total + _rows(b, column), None)  # noqa: E731
    return jax.lax.scan(add, jnp.zeros_like(b), neighbors.T)[0]


@per_sample
def add_to_neighbors(gradient: Array, neighbors: Array) -> Array:
    """Kernel: add row [i] to all rows neighbors[i]."""
    add = lambda out, column: (_add_rows(out, column, gradient), None)  # noqa: E731
    return jax.lax.scan(add, jnp.zeros_like(gradient), neighbors.T)[0]


@per_sample
def rows_of_neighbors(b: Array, neighbors: Array) -> Array:
    """Kernel: [n, k, d]."""
    return _rows(b, neighbors)


@per_sample
def add_rows_to_neighbors(gradient: Array, neighbors: Array) -> Array:
    """Kernel: add each row [i, j] to row neighbors[i, j]."""
    n, _, d = gradient.shape
    add = lambda out, column: (_add_rows(out, *column), None)  # noqa: E731
    columns = neighbors.T, jnp.swapaxes(gradient, 0, 1)
    return jax.lax.scan(add, jnp.zeros((n, d), gradient.dtype), columns)[0]


@per_sample
def edges_into(neighbors: Array) -> Array:
    """Kernel: of how many points each point is a neighbor."""
    ends = neighbors.reshape(-1)
    return _add_rows(jnp.zeros(len(neighbors), ends.dtype), ends, jnp.ones_like(ends))
