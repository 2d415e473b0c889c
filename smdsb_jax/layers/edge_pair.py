"""Two dense layers of every edge and the maximum over neighbors, without the edges.

The first layer's values are a_i + b_j as in `edge_conv.py`. The second follows a non-linearity, so it does
see every edge; but norm and activation after it are monotone per channel, so that the maximum comes before
them, and the norm's statistics follow from first and second moments of its inputs. What is wanted of the
edges is computed for a block of points at a time, and again in the backward pass: [n, k, c] never exists.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.neighbors import knn
from smdsb_jax.geometry.per_sample import linear, per_sample
from smdsb_jax.layers.basic import BatchNorm, Dense, Moments, leaky_relu, product, torch_uniform
from smdsb_jax.layers.edge_conv import edge_factors, edge_moments

BLOCK = 64  # points whose edges exist at a time: [64, k, c] and [64, k, d] stay in a core's own cache
SLOPE = 0.2  # of the leaky ReLU after either layer


class Edges(NamedTuple):
    """Values a_i + b_j, j in N(i), of every edge, before the activation."""

    of_center: Float[Array, "batch n c"]
    of_neighbor: Float[Array, "batch n c"]
    neighbors: Int[Array, "batch n k"]


class EdgeTerms(nn.Module):
    """BN(W [x_j - x_i, x_i]) of every edge, j in kNN(i), with the parameters of an `EdgeConv`."""

    features: int
    k: int = 20
    use_norm: bool = True  # False: without BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Edges:
        """The terms; `train` normalizes by the batch's own statistics and records them."""
        kernel = self.param("kernel", torch_uniform, (2 * x.shape[-1], self.features))
        neighbors = jax.vmap(lambda cloud: knn(cloud, self.k))(x)
        a, b = (product(x, factor) for factor in edge_factors(kernel))
        if self.use_norm:
            norm = BatchNorm(self.features, name="norm")
            a, b = norm.of_terms(a, b, train=train, batch=edge_moments(a, b, neighbors) if train else None)
        return Edges(a, b, neighbors)


class PooledEdges(nn.Module):
    """max_j LeakyReLU(BN(W LeakyReLU(a_i + b_j))) with the parameters of a `DenseBlock`."""

    features: int
    use_norm: bool = True

    @nn.compact
    def __call__(self, edges: Edges, *, train: bool) -> Float[Array, "batch n d"]:
        """Apply and pool; `train` normalizes by the batch's own statistics and records them."""
        a, b, neighbors = edges
        kernel, _ = Dense(self.features, use_bias=False, name="dense").weights(a.shape[-1])
        pool = jax.vmap(max_of_edges, in_axes=(0, 0, None))
        terms = jnp.stack([a, b], axis=1)
        if not self.use_norm:
            return leaky_relu(pool(terms, neighbors, kernel.T), SLOPE)
        norm = BatchNorm(self.features, name="norm")
        direction = norm.direction()
        largest = direction[None, None, :] * pool(terms, neighbors, direction[:, None] * kernel.T)
        batch = pair_moments(terms, neighbors, kernel) if train else None
        return leaky_relu(norm(largest, train=train, batch=batch), SLOPE)


def pair_moments(
    terms: Float[Array, "batch 2 n c"], neighbors: Int[Array, "batch n k"], kernel: Float[Array, "c d"]
) -> Moments:
    """Moments of W h over all edges, h = LeakyReLU(a_i + b_j): of h those of first and second order.

    They are taken about a point near the mean (the mean over each point's edge to itself), not about 0, so
    that little is lost to rounding.
    """
    near = jax.lax.stop_gradient(jnp.mean(leaky_relu(jnp.sum(terms, axis=1), SLOPE), axis=(0, 1)))
    sums = jnp.sum(jax.vmap(edge_sums, in_axes=(0, 0, None))(terms, neighbors, near), axis=0)
    offset, second = sums[0] / neighbors.size, sums[1:] / neighbors.size
    covariance = second - offset[:, None] * offset[None, :]
    var = jnp.sum(kernel * (covariance @ kernel), axis=0)
    return Moments((near + offset) @ kernel, jnp.maximum(var, 0), neighbors.size)


@jax.custom_jvp
def max_of_edges(
    terms: Float[Array, "2 n c"], neighbors: Int[Array, "n k"], columns: Float[Array, "d c"]
) -> Float[Array, "n d"]:
    """Per point and column w the maximum of w'h over its edges; its gradient goes to the first of equals."""
    return max_over_edges(terms, neighbors, columns)[0]


@max_of_edges.defjvp
def _max_of_edges_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    terms, neighbors, columns = primals
    largest, winner = max_over_edges(*primals)
    of_terms = linear(winners_of_terms, winners_to_terms)(tangents[0], terms, neighbors, columns, winner)
    of_columns = linear(winners_of_columns, winners_to_columns)(tangents[2], terms, neighbors, winner)
    return largest, of_terms + of_columns


@jax.custom_jvp
def edge_sums(
    terms: Float[Array, "2 n c"], neighbors: Int[Array, "n k"], near: Float[Array, " c"]
) -> Float[Array, "1+c c"]:
    """Over all edges the sum of u = h - near, and below it that of u u', for quadratic forms w' u u' w only.

    The derivative by h lacks an antisymmetric part, as that of `pooled_dense.gram`; `near` is a constant.
    """
    return sums_over_edges(terms, neighbors, near)


@edge_sums.defjvp
def _edge_sums_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    return edge_sums(*primals), linear(sums_of_terms, sums_to_terms)(tangents[0], *primals)


def _blocks(*arrays: Array) -> tuple[Array, ...]:
    """The points' rows in blocks, the last one filled up with zeros."""
    n = len(arrays[0])
    size = min(BLOCK, n)
    more = -n % size
    fill = lambda x: jnp.pad(x, [(0, more), *[(0, 0)] * (x.ndim - 1)])  # noqa: E731
    return tuple(fill(x).reshape(-1, size, *x.shape[1:]) for x in arrays)


def _whole(blocks: Array, n: int) -> Array:
    return blocks.reshape(-1, *blocks.shape[2:])[:n]


def _ends(b: Array, neighbors: Array) -> Array:
    return b.at[neighbors].get(mode="promise_in_bounds")


def _through(x: Array, matrix: Array) -> Array:
    """X [p, k, c] times matrix [c, d]."""
    return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], -1)


def _slope(before: Array) -> Array:
    return jnp.where(before > 0, jnp.ones_like(before), SLOPE)


@per_sample
def max_over_edges(terms: Array, neighbors: Array, columns: Array) -> tuple[Array, Array]:
    """Kernel: maximum, and which of the k edges has it."""
    n, k = neighbors.shape

    def block(given: tuple[Array, Array]) -> tuple[Array, Array]:
        a, near = given
        y = _through(leaky_relu(a[:, None] + _ends(terms[1], near), SLOPE), columns.T)
        largest = jnp.max(y, axis=1)
        # NaN equals nothing: k - 1 keeps the number inside the array
        winner = jnp.where(y == largest[:, None], jnp.arange(k)[None, :, None], k - 1)
        return largest, jnp.min(winner, axis=1)

    largest, winner = jax.lax.map(block, _blocks(terms[0], neighbors))
    return _whole(largest, n), _whole(winner, n)


@per_sample
def winners_of_terms(change: Array, terms: Array, neighbors: Array, columns: Array, winner: Array) -> Array:
    """Kernel: [i, j] is w_j' of the change of h at i's edge winner[i, j]."""

    def block(given: tuple[Array, ...]) -> Array:
        da, a, near, winner = given
        h = _slope(a[:, None] + _ends(terms[1], near)) * (da[:, None] + _ends(change[1], near))
        return _of_winners(_through(h, columns.T), winner)

    return _whole(jax.lax.map(block, _blocks(change[0], terms[0], neighbors, winner)), len(neighbors))


@per_sample
def winners_to_terms(gradient: Array, terms: Array, neighbors: Array, columns: Array, winner: Array) -> Array:
    """Kernel: the transpose of `winners_of_terms`."""

    def block(of_neighbor: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        g, a, near, winner = given
        of_h = _through(_at_winners(g, winner, near.shape[1]), columns)
        return _add_to_terms(of_neighbor, _slope(a[:, None] + _ends(terms[1], near)) * of_h, near)

    start = jnp.zeros_like(terms[1])
    of_neighbor, of_center = jax.lax.scan(block, start, _blocks(gradient, terms[0], neighbors, winner))
    return jnp.stack([_whole(of_center, len(neighbors)), of_neighbor])


@per_sample
def winners_of_columns(change: Array, terms: Array, neighbors: Array, winner: Array) -> Array:
    """Kernel: [i, j] is the change of w_j times h at i's edge winner[i, j]."""

    def block(given: tuple[Array, ...]) -> Array:
        a, near, winner = given
        h = leaky_relu(a[:, None] + _ends(terms[1], near), SLOPE)
        return _of_winners(_through(h, change.T), winner)

    return _whole(jax.lax.map(block, _blocks(terms[0], neighbors, winner)), len(neighbors))


@per_sample
def winners_to_columns(gradient: Array, terms: Array, neighbors: Array, winner: Array) -> Array:
    """Kernel: the transpose of `winners_of_columns`."""

    def block(total: Array, given: tuple[Array, ...]) -> tuple[Array, None]:
        g, a, near, winner = given
        h = leaky_relu(a[:, None] + _ends(terms[1], near), SLOPE)
        at = _at_winners(g, winner, near.shape[1])
        return total + at.reshape(-1, at.shape[-1]).T @ h.reshape(-1, h.shape[-1]), None

    start = jnp.zeros((gradient.shape[1], terms.shape[-1]), gradient.dtype)
    return jax.lax.scan(block, start, _blocks(gradient, terms[0], neighbors, winner))[0]


def _of_winners(y: Array, winner: Array) -> Array:
    """Of y [p, k, d] what the winners [p, d] have."""
    return jnp.take_along_axis(y, winner[:, None], axis=1, mode="promise_in_bounds")[:, 0]


def _at_winners(gradient: Array, winner: Array, k: int) -> Array:
    """The transpose: [p, k, d], zero but at the winners."""
    return jnp.where(winner[:, None] == jnp.arange(k)[None, :, None], gradient[:, None], 0)


def _add_to_terms(of_neighbor: Array, edges: Array, neighbors: Array) -> tuple[Array, Array]:
    """The edges' gradients [p, k, c] added up: those of the neighbors' terms so far, and the centers'."""
    rows = edges.reshape(-1, edges.shape[-1])
    added = of_neighbor.at[neighbors.reshape(-1)].add(rows, mode="promise_in_bounds")
    return added, jnp.sum(edges, axis=1)


@per_sample
def sums_over_edges(terms: Array, neighbors: Array, near: Array) -> Array:
    """Kernel: the sums."""

    def block(total: Array, given: tuple[Array, ...]) -> tuple[Array, None]:
        a, neighbors, valid = given
        u = leaky_relu(a[:, None] + _ends(terms[1], neighbors), SLOPE) - near[None, None, :]
        u = (u * valid[:, None, None]).reshape(-1, u.shape[-1])
        return total + jnp.concatenate([jnp.sum(u, axis=0)[None], u.T @ u]), None

    c = terms.shape[-1]
    valid = jnp.ones(len(neighbors), terms.dtype)
    return jax.lax.scan(block, jnp.zeros((1 + c, c), terms.dtype), _blocks(terms[0], neighbors, valid))[0]


@per_sample
def sums_of_terms(change: Array, terms: Array, neighbors: Array, near: Array) -> Array:
    """Kernel: the change of the sums with that of the terms."""

    def block(total: Array, given: tuple[Array, ...]) -> tuple[Array, None]:
        da, a, neighbors, valid = given
        before = a[:, None] + _ends(terms[1], neighbors)
        u = leaky_relu(before, SLOPE) - near[None, None, :]
        dh = _slope(before) * (da[:, None] + _ends(change[1], neighbors)) * valid[:, None, None]
        dh, u = dh.reshape(-1, dh.shape[-1]), u.reshape(-1, u.shape[-1])
        return total + jnp.concatenate([jnp.sum(dh, axis=0)[None], 2 * u.T @ dh]), None

    c = terms.shape[-1]
    given = _blocks(change[0], terms[0], neighbors, jnp.ones(len(neighbors), terms.dtype))
    return jax.lax.scan(block, jnp.zeros((1 + c, c), terms.dtype), given)[0]


@per_sample
def sums_to_terms(gradient: Array, terms: Array, neighbors: Array, near: Array) -> Array:
    """Kernel: the transpose of `sums_of_terms`."""

    def block(of_neighbor: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        a, neighbors, valid = given
        before = a[:, None] + _ends(terms[1], neighbors)
        u = leaky_relu(before, SLOPE) - near[None, None, :]
        of_h = gradient[0][None, None, :] + 2 * _through(u, gradient[1:])
        return _add_to_terms(of_neighbor, _slope(before) * of_h * valid[:, None, None], neighbors)

    given = _blocks(terms[0], neighbors, jnp.ones(len(neighbors), terms.dtype))
    of_neighbor, of_center = jax.lax.scan(block, jnp.zeros_like(terms[1]), given)
    return jnp.stack([_whole(of_center, len(neighbors)), of_neighbor])
