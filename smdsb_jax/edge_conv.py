"""Edge convolution without the edges: max_j LeakyReLU(BN(W [x_j - x_i, x_i])) from [n, d] arrays.

With W = [W_n; W_c] an edge's value is y_ij = a_i + b_j, a = x (W_c - W_n), b = x W_n: the products cost
n rows instead of n k. Norm and activation are monotone per channel, so only max_j b_j (min_j where the
norm's scale is negative) is needed, and the norm's statistics follow from moments of a, b and of
S_i = sum_j b_j. The [n, k, d] array exists for a block of points at a time.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry import knn
from smdsb_jax.layers import BatchNorm, Moments, leaky_relu, product, torch_uniform
from smdsb_jax.per_sample import per_sample

POINT_BLOCK = 256  # points gathered at a time: [256, k, d] stays in a CPU's cache


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
        center, neighbor = edge_factors(x, kernel)
        direction = norm.direction()[None, None, :]
        if not train:  # running statistics: no sums over neighbors
            extreme = direction * jax.vmap(neighbor_max)(direction * neighbor, neighbors)
            return leaky_relu(norm(center + extreme, train=False), self.negative_slope)
        largest, total = jax.vmap(neighbor_max_and_sum)(direction * neighbor, neighbors)
        batch = edge_moments(center, neighbor, direction * total, neighbors)
        y = norm(center + direction * largest, train=True, batch=batch)
        return leaky_relu(y, self.negative_slope)


def edge_factors(
    x: Float[Array, "batch n c"], kernel: Float[Array, "two_c d"]
) -> tuple[Float[Array, "batch n d"], Float[Array, "batch n d"]]:
    """(a, b) with [x_j - x_i, x_i] @ kernel = a_i + b_j."""
    of_difference, of_center = jnp.split(kernel, 2)
    return product(x, of_center - of_difference), product(x, of_difference)


def edge_moments(
    center: Float[Array, "batch n d"],
    neighbor: Float[Array, "batch n d"],
    total: Float[Array, "batch n d"],
    neighbors: Int[Array, "batch n k"],
) -> Moments:
    """Moments of y_ij = center_i + neighbor_j over all M = batch n k edges, `total` being sum_j neighbor_j.

    mean = m_a + m_b, m_a = mean(a), m_b = sum_i S_i / M, and with n_j the edges that end in j
    var = [k sum_i (a_i - m_a)^2 + 2 sum_i (a_i - m_a) (S_i - k m_b) + sum_j n_j (b_j - m_b)^2] / M.
    """
    k, count = neighbors.shape[-1], neighbors.size
    mean_a = jnp.mean(center, (0, 1))
    mean_b = jnp.sum(total, (0, 1)) / count
    a, b = center - mean_a[None, None, :], neighbor - mean_b[None, None, :]
    ends = jax.vmap(edges_into)(neighbors).astype(b.dtype)[:, :, None]
    total = total - k * mean_b[None, None, :]
    var = jnp.sum(k * a**2 + 2 * a * total + ends * b**2, (0, 1)) / count
    return Moments(mean_a + mean_b, jnp.maximum(var, 0), count)  # a = -b: rounding may go below 0


@jax.custom_vjp
def neighbor_max(b: Float[Array, "n d"], neighbors: Int[Array, "n k"]) -> Float[Array, "n d"]:
    """Per point and channel the maximum of b over the neighbors; its gradient goes to one of equals."""
    return max_over_neighbors(b, neighbors)[0]


@jax.custom_vjp
def neighbor_max_and_sum(
    b: Float[Array, "n d"], neighbors: Int[Array, "n k"]
) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """`neighbor_max` and the sum over the neighbors, from one gather."""
    return max_and_sum_over_neighbors(b, neighbors)[:2]


@jax.custom_vjp
def neighbor_rows(b: Float[Array, "n d"], neighbors: Int[Array, "n k"]) -> Float[Array, "n k d"]:
    """The neighbors' rows of b, for a layer that must see every edge."""
    return rows_of_neighbors(b, neighbors)


# Indices found by `knn` are inside the array. Promising it saves the check of every access.
def _rows(b: Array, indices: Array) -> Array:
    return b.at[indices].get(mode="promise_in_bounds")


def _add_rows(out: Array, indices: Array, rows: Array) -> Array:
    return out.at[indices].add(rows, mode="promise_in_bounds")


def _by_blocks(reduce_one: Any, neighbors: Array) -> Any:
    """`reduce_one` of each point's neighbors [k], a block of points at a time."""
    return jax.lax.map(reduce_one, neighbors, batch_size=min(POINT_BLOCK, neighbors.shape[0]))


def _winner(rows: Array, largest: Array, neighbors: Array, n: int) -> Array:
    """Which neighbor has the maximum: per channel its index, the lowest of equals."""
    # NaN equals nothing: n - 1 keeps the index inside the array
    return jnp.min(jnp.where(rows == largest[None, :], neighbors[:, None], n - 1), axis=0)


@per_sample
def max_over_neighbors(b: Array, neighbors: Array) -> tuple[Array, Array]:
    """Kernel: maximum and who has it."""

    def one_point(neighbors: Array) -> tuple[Array, Array]:
        rows = _rows(b, neighbors)
        largest = jnp.max(rows, axis=0)
        return largest, _winner(rows, largest, neighbors, len(b))

    return _by_blocks(one_point, neighbors)


@per_sample
def max_and_sum_over_neighbors(b: Array, neighbors: Array) -> tuple[Array, Array, Array]:
    """Kernel: maximum, sum, and who has the maximum."""

    def one_point(neighbors: Array) -> tuple[Array, Array, Array]:
        rows = _rows(b, neighbors)
        largest = jnp.max(rows, axis=0)
        return largest, jnp.sum(rows, axis=0), _winner(rows, largest, neighbors, len(b))

    return _by_blocks(one_point, neighbors)


@per_sample
def rows_of_neighbors(b: Array, neighbors: Array) -> Array:
    """Kernel: [n, k, d]."""
    return _rows(b, neighbors)


@per_sample
def gradient_of_max(gradient: Array, winner: Array) -> Array:
    """Kernel: each entry goes to the point that had the maximum."""
    return _to_winners(gradient, winner)


@per_sample
def gradient_of_max_and_sum(of_max: Array, of_sum: Array, winner: Array, neighbors: Array) -> Array:
    """Kernel: as `gradient_of_max`, and each row of the sum's gradient to all k neighbors."""
    # k scatters of n rows: 5 times faster on a CPU than one of n k rows
    return jax.lax.scan(
        lambda out, column: (_add_rows(out, column, of_sum), None), _to_winners(of_max, winner), neighbors.T
    )[0]


@per_sample
def gradient_of_rows(gradient: Array, neighbors: Array) -> Array:
    """Kernel: each row [i, j] goes to its neighbor."""
    n, _, d = gradient.shape
    return jax.lax.scan(
        lambda out, column: (_add_rows(out, *column), None),
        jnp.zeros((n, d), gradient.dtype),
        (neighbors.T, jnp.swapaxes(gradient, 0, 1)),
    )[0]


@per_sample
def edges_into(neighbors: Array) -> Array:
    """Kernel: of how many points each point is a neighbor."""
    ends = neighbors.reshape(-1)
    return _add_rows(jnp.zeros(len(neighbors), ends.dtype), ends, jnp.ones_like(ends))


def _to_winners(gradient: Array, winner: Array) -> Array:
    """Scatter each entry [i, c] to row winner[i, c] of channel c."""
    n, d = gradient.shape
    entries = winner * d + jnp.arange(d, dtype=winner.dtype)[None, :]
    flat = jnp.zeros(n * d, gradient.dtype)
    return _add_rows(flat, entries.reshape(-1), gradient.reshape(-1)).reshape(n, d)


def _max_forward(b: Array, neighbors: Array) -> tuple[Array, Array]:
    return max_over_neighbors(b, neighbors)


def _max_backward(winner: Array, gradient: Array) -> tuple[Array, None]:
    return gradient_of_max(gradient, winner), None


def _max_and_sum_forward(b: Array, neighbors: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    largest, total, winner = max_and_sum_over_neighbors(b, neighbors)
    return (largest, total), (winner, neighbors)


def _max_and_sum_backward(kept: tuple[Array, Array], gradients: tuple[Array, Array]) -> tuple[Array, None]:
    return gradient_of_max_and_sum(*gradients, *kept), None


def _rows_forward(b: Array, neighbors: Array) -> tuple[Array, Array]:
    return rows_of_neighbors(b, neighbors), neighbors


def _rows_backward(neighbors: Array, gradient: Array) -> tuple[Array, None]:
    return gradient_of_rows(gradient, neighbors), None


neighbor_max.defvjp(_max_forward, _max_backward)
neighbor_max_and_sum.defvjp(_max_and_sum_forward, _max_and_sum_backward)
neighbor_rows.defvjp(_rows_forward, _rows_backward)
