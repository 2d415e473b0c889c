"""Two dense layers of every edge and the maximum over neighbors, without the edges.

The first layer's values are a_i + b_j as in `edge_conv.py`. The second follows a non-linearity, so it does
see every edge; but norm and activation after it are monotone per channel, so that the maximum comes before
them, and the norm's statistics follow from first and second moments of its inputs. What is wanted of the
edges is computed for a block of points at a time, and again in the backward pass: [n, k, c] never exists.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.neighbors import knn
from smdsb_jax.geometry.per_sample import Kernel, linear, per_sample
from smdsb_jax.layers.basic import BatchNorm, Dense, Moments, leaky_relu, product, torch_uniform
from smdsb_jax.layers.edge_conv import edge_factors, edge_moments

BLOCK = 256  # points whose edges exist at a time; smaller ones are no faster, and slower on several cores
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
        terms = jnp.stack([a, b], axis=1)
        # near the mean of h: moments about it lose little to rounding
        near = jax.lax.stop_gradient(jnp.mean(leaky_relu(a + b, SLOPE), axis=(0, 1)))
        pool = functools.partial(pool_edges, train and self.use_norm)
        pool = jax.vmap(pool, in_axes=(0, 0, None, None))
        if not self.use_norm:
            return leaky_relu(pool(terms, neighbors, kernel.T, near)[0], SLOPE)
        norm = BatchNorm(self.features, name="norm")
        direction = norm.direction()
        largest, sums = pool(terms, neighbors, direction[:, None] * kernel.T, near)
        batch = pair_moments(jnp.sum(sums, axis=0), near, kernel, neighbors.size) if train else None
        return leaky_relu(norm(direction[None, None, :] * largest, train=train, batch=batch), SLOPE)


def pair_moments(
    sums: Float[Array, "rows c"], near: Float[Array, " c"], kernel: Float[Array, "c d"], count: int
) -> Moments:
    """Moments of W h over `count` edges from the sums of u = h - near and of u u'."""
    offset, second = sums[0] / count, sums[1:] / count
    covariance = second - offset[:, None] * offset[None, :]
    var = jnp.sum(kernel * (covariance @ kernel), axis=0)
    return Moments((near + offset) @ kernel, jnp.maximum(var, 0), count)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def pool_edges(
    train: bool,
    terms: Float[Array, "2 n c"],
    neighbors: Int[Array, "n k"],
    columns: Float[Array, "d c"],
    near: Float[Array, " c"],
) -> tuple[Float[Array, "n d"], Float[Array, "rows c"]]:
    """Per point and column w the maximum of w'h over its edges, and sums over all edges.

    The sums, [1 + c, c] and 0 without `train`, are that of u = h - near and below it that of u u', for
    quadratic forms w' u u' w only: their derivative by h lacks an antisymmetric part, as that of
    `pooled_dense.gram`. The maximum's gradient goes to the first of equals; `near` is a constant.
    """
    largest, _, sums = _pooling(train)(terms, neighbors, columns, near)
    return largest, sums


@functools.partial(pool_edges.defjvp, symbolic_zeros=True)
def _pool_edges_jvp(train: bool, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    terms, neighbors, columns, near = primals
    largest, winner, sums = _pooling(train)(*primals)
    d_terms, _, d_columns, _ = tangents
    fixed = isinstance(d_columns, SymbolicZero)  # as in the gradient by the points alone
    change = d_terms if not isinstance(d_terms, SymbolicZero) else jnp.zeros_like(terms)
    rows = change.reshape(-1, change.shape[-1])
    packed = rows if fixed else jnp.concatenate([rows, d_columns])
    flat = linear(*_derivatives(train, fixed))(packed, terms, neighbors, columns, near, winner)
    changes = flat[: largest.size].reshape(largest.shape), flat[largest.size :].reshape(sums.shape)
    return (largest, sums), changes


def _blocks(*arrays: Array) -> tuple[Array, ...]:
    """The points' rows in blocks, the last one filled up with zeros; the last array says which are points."""
    n = len(arrays[0])
    size = min(BLOCK, n)
    fill = lambda x: jnp.pad(x, [(0, -n % size), *[(0, 0)] * (x.ndim - 1)])  # noqa: E731
    arrays = (*arrays, jnp.ones(n, arrays[0].dtype))
    return tuple(fill(x).reshape(-1, size, *x.shape[1:]) for x in arrays)


def _whole(blocks: Array, n: int) -> Array:
    return blocks.reshape(-1, *blocks.shape[2:])[:n]


def _ends(b: Array, neighbors: Array) -> Array:
    return b.at[neighbors].get(mode="promise_in_bounds")


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _slope(before: Array) -> Array:
    return jnp.where(before > 0, jnp.ones_like(before), SLOPE)


@functools.cache
def _pooling(train: bool) -> Kernel:
    @per_sample
    def pool_of_edges(
        terms: Array, neighbors: Array, columns: Array, near: Array
    ) -> tuple[Array, Array, Array]:
        """Kernel: maximum, which of the k edges has it, and the sums."""
        (n, k), c = neighbors.shape, terms.shape[-1]

        def block(total: Array, given: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
            a, neighbors, valid = given
            h = leaky_relu(a[:, None] + _ends(terms[1], neighbors), SLOPE)
            y = (_rows(h) @ columns.T).reshape(*neighbors.shape, -1)
            largest = jnp.max(y, axis=1)
            # NaN equals nothing: k - 1 keeps the number inside the array
            winner = jnp.where(y == largest[:, None], jnp.arange(k)[None, :, None], k - 1)
            if train:
                u = _rows((h - near[None, None, :]) * valid[:, None, None])
                total = total + jnp.concatenate([jnp.sum(u, axis=0)[None], u.T @ u])
            return total, (largest, jnp.min(winner, axis=1))

        start = jnp.zeros((1 + c, c), terms.dtype)
        sums, (largest, winner) = jax.lax.scan(block, start, _blocks(terms[0], neighbors))
        return _whole(largest, n), _whole(winner, n), sums

    return pool_of_edges


@functools.cache
def _derivatives(train: bool, fixed: bool) -> tuple[Kernel, Kernel]:
    """Kernel and transpose: the change of largest and sums, flat, with that of the rows of terms and columns.

    Where the columns are `fixed` they have no rows, and the product for their gradient is saved.
    """

    @per_sample
    def change_of_pool(
        packed: Array, terms: Array, neighbors: Array, columns: Array, near: Array, winner: Array
    ) -> Array:
        """Kernel: of the packed rows, those of terms and then those of columns."""
        n, c = terms.shape[1:]
        d_terms, d_columns = packed[: 2 * n].reshape(2, n, c), packed[2 * n :]

        def block(total: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
            da, a, neighbors, winner, valid = given
            before = a[:, None] + _ends(terms[1], neighbors)
            h = leaky_relu(before, SLOPE)
            dh = _slope(before) * (da[:, None] + _ends(d_terms[1], neighbors)) * valid[:, None, None]
            dy = _rows(dh) @ columns.T
            if not fixed:
                dy = dy + _rows(h) @ d_columns.T
            dy = dy.reshape(*neighbors.shape, -1)
            of_winners = jnp.take_along_axis(dy, winner[:, None], axis=1, mode="promise_in_bounds")[:, 0]
            if train:
                moments = 2 * _rows(h - near[None, None, :]).T @ _rows(dh)
                total = total + jnp.concatenate([jnp.sum(dh, axis=(0, 1))[None], moments])
            return total, of_winners

        start = jnp.zeros((1 + c, c), terms.dtype)
        sums, largest = jax.lax.scan(block, start, _blocks(d_terms[0], terms[0], neighbors, winner))
        return jnp.concatenate([_whole(largest, n).reshape(-1), sums.reshape(-1)])

    @per_sample
    def back_to_terms(
        gradient: Array, terms: Array, neighbors: Array, columns: Array, near: Array, winner: Array
    ) -> Array:
        """The transpose."""
        (n, k), c, d = neighbors.shape, terms.shape[-1], columns.shape[0]
        of_largest, of_sums = gradient[: n * d].reshape(n, d), gradient[n * d :].reshape(1 + c, c)
        numbers = jnp.arange(k, dtype=winner.dtype)[None, :, None]

        def block(total: tuple[Array, Array], given: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
            of_neighbor, of_columns = total
            g, a, neighbors, winner, valid = given
            before = a[:, None] + _ends(terms[1], neighbors)
            h = leaky_relu(before, SLOPE)
            at_winners = _rows(jnp.where(winner[:, None] == numbers, g[:, None], 0))
            of_h = at_winners @ columns
            if train:
                of_h = of_h + of_sums[:1] + 2 * _rows(h - near[None, None, :]) @ of_sums[1:]
            of_before = _slope(before) * of_h.reshape(h.shape) * valid[:, None, None]
            if not fixed:
                of_columns = of_columns + at_winners.T @ _rows(h)
            ends = neighbors.reshape(-1)
            of_neighbor = of_neighbor.at[ends].add(_rows(of_before), mode="promise_in_bounds")
            return (of_neighbor, of_columns), jnp.sum(of_before, axis=1)

        start = jnp.zeros_like(terms[1]), jnp.zeros((0 if fixed else d, c), terms.dtype)
        totals, of_center = jax.lax.scan(block, start, _blocks(of_largest, terms[0], neighbors, winner))
        return jnp.concatenate([_whole(of_center, n), *totals])

    return change_of_pool, back_to_terms
