"""Neighbors of the points of one cloud; `jax.vmap` outside for a batch.

The search runs as a per-sample kernel (`per_sample.py`) and carries no gradient. Its products keep full
precision on every platform: a rounded distance picks other neighbors.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.per_sample import exact_product, per_sample

PAIRS = 2**18  # distances of one cloud that exist at a time: 1 MiB, more where QUERIES asks for it
QUERIES = 64  # least number of points whose neighbors are sought at a time: fewer fill no vectors
PACKED_POINTS = 2**13  # of more, too few bits of a distance are left beside the number of its point
GROUP, GROUPS = 8, 512  # points of a group, whose maximum stands for them; with more groups twice as many
SPARE = 4  # candidates beyond k from which the exact distances choose


def knn(points: Float[Array, "n c"], k: int) -> Int[Array, "n k"]:
    """Indices of the k nearest points of each point, itself included, in no order to rely on.

    Nearness is -|p_i - p_j|^2 = 2 p_i.p_j - |p_i|^2 - |p_j|^2; of equally near points any are taken.
    k = n is allowed: every point is then a neighbor of every point. Memory grows with n, not with n^2.

    Raises:
      ValueError: k < 1 or k > n.
    """
    n = points.shape[0]
    if not 1 <= k <= n:
        raise ValueError(
            f"encoder.k = {k} neighbors among data.points = {n} points: needs 1 <= k <= points (a point is "
            "its own first neighbor). Lower encoder.k or raise data.points."
        )

    points = jax.lax.stop_gradient(points)
    packed = _nearest_packed if n <= PACKED_POINTS else _nearest_in_parts
    packs = points.dtype == jnp.float32 and k <= PACKED_POINTS // 2

    def knn_search(points: Array) -> Array:
        return by_queries(functools.partial(packed if packs else _nearest_sorted, k), points, points)

    def knn_top_k(points: Array) -> Array:
        return by_queries(functools.partial(_nearest_sorted, k), points, points)

    return per_sample(knn_search, knn_top_k)(points)


def count_within(points: Float[Array, "n 3"], radius: float) -> Int[Array, " n"]:
    """Of each point: how many points are at most `radius` away (unit: coordinate), itself included.

    Memory grows with n, not with n^2. The counts are constants to differentiation.
    """
    squared_radius = radius**2

    def of_queries(points: Array, queries: Array) -> Array:
        # by differences: |p|^2 + |q|^2 - 2pq rounds where points are near each other
        x, y, z = ((queries[:, i, None] - points[None, :, i]) ** 2 for i in range(3))
        return jnp.sum(x + y + z <= squared_radius, axis=1, keepdims=True, dtype=jnp.int32)

    def count_search(points: Array) -> Array:
        return by_queries(of_queries, points, points)[:, 0]

    return per_sample(count_search)(jax.lax.stop_gradient(points))


def nearest(points: Float[Array, "n c"], queries: Float[Array, "m c"], k: int) -> Int[Array, "m k"]:
    """Indices of the k points nearest to each query, the nearest first; as `knn` otherwise.

    Raises:
      ValueError: k < 1 or k > n.
    """
    n = points.shape[0]
    if not 1 <= k <= n:
        raise ValueError(
            f"nearest: {k} of {n} points asked; needs 1 <= k <= n. Ask for fewer or raise data.points."
        )

    def nearest_search(points: Array, queries: Array) -> Array:
        return by_queries(functools.partial(_nearest_sorted, k), points, queries)

    return per_sample(nearest_search)(*jax.lax.stop_gradient((points, queries)))


def within_radius(
    points: Float[Array, "n c"], queries: Float[Array, "m c"], radius: float, members: int, order: str
) -> Int[Array, "m members"]:
    """Indices of up to `members` points within a radius (boundary included) of each query.

    Args:
      points: of a cloud.
      queries: where to look; one without any point around it gets point 0.
      radius: in units of the coordinates.
      members: how many; where there are fewer, the first one is repeated.
      order: which are the first: `index`, those of the lowest index, as a ball query of PointNet++ has it
        [arXiv:1706.02413], or `nearest`, whatever the order of the points.
    """
    n = points.shape[0]

    def ball_query(points: Array, queries: Array) -> Array:
        # by differences: a query that is a point itself has the distance 0
        squared = jnp.sum((queries[:, None, :] - points[None, :, :]) ** 2, axis=-1)
        inside = squared <= radius**2
        rank = -jnp.arange(n, dtype=points.dtype)[None, :] if order == "index" else -squared
        found = jax.lax.top_k(jnp.where(inside, rank, -jnp.inf), min(members, n))[1]
        slot = jnp.arange(members)[None, :]
        there = slot < jnp.sum(inside, axis=1, keepdims=True)
        return jnp.where(there, found[:, jnp.minimum(slot[0], n - 1)], found[:, :1])

    return per_sample(ball_query)(*jax.lax.stop_gradient((points, queries)))


def by_queries(
    search: Callable[[Array, Array], Array], points: Array, queries: Array, pairs: int = PAIRS
) -> Array:
    """`search(points, queries)` with so many queries at a time that they have `pairs` distances."""
    n, m = points.shape[0], queries.shape[0]
    size = min(m, max(pairs // n, QUERIES))
    blocks = -(-m // size)
    padded = queries[jnp.arange(blocks * size) % m].reshape(blocks, size, -1)
    if blocks == 1:
        return search(points, padded[0])
    return jax.lax.map(functools.partial(search, points), padded).reshape(blocks * size, -1)[:m]


def _nearness(points: Array, queries: Array) -> Array:
    """-|p - q|^2, [points, queries]."""
    of_points, of_queries = jnp.sum(points**2, axis=-1), jnp.sum(queries**2, axis=-1)
    return 2 * exact_product(points, queries) - of_queries[None, :] - of_points[:, None]


def _nearest_sorted(k: int, points: Array, queries: Array) -> Array:
    """The plain search: [queries, k]."""
    # the indices only: using its values defeats the fast CPU path
    return jax.lax.top_k(_nearness(queries, points), k)[1]


def _nearest_packed(k: int, points: Array, queries: Array) -> Array:
    """The same neighbors by `_packed_search`."""
    return _packed_search(k, points, queries)[0].T


def _nearest_in_parts(k: int, points: Array, queries: Array) -> Array:
    """The same neighbors of many points: the k nearest of each part, and of those the k nearest."""
    n = points.shape[0]
    parts = -(-n // PACKED_POINTS)
    size = min(-(-n // (2 * GROUP * parts)) * 2 * GROUP, n)  # whole groups
    begins = jnp.arange(parts) * size

    def of_part(begin: Array) -> tuple[Array, Array]:
        start = jnp.minimum(begin, n - size)  # the last part shares points with the one before: not twice
        part = jax.lax.dynamic_slice_in_dim(points, start, size)
        found, values = _packed_search(k, part, queries)
        found = found + start
        return found, jnp.where(found < begin, jnp.iinfo(values.dtype).min, values)

    found, values = (a.reshape(parts * k, -1).T for a in jax.lax.map(of_part, begins))
    return jnp.take_along_axis(found, jax.lax.top_k(values, k)[1], axis=1)


def _packed_search(k: int, points: Array, queries: Array) -> tuple[Array, Array]:
    """Neighbors and their nearness as ordered integers, both [k, queries], from k + SPARE maxima per query.

    A float32 read as an integer (of negative numbers the other bits inverted) keeps its order. Its lowest
    ceil(log2 n) bits are replaced by the point's number, so that a maximum says whose it is, at the price
    of a value rounded down. Among k + SPARE candidates the exact values choose. No other point can be
    nearer where the k-th exact value exceeds the last candidate's even after rounding; where that does not
    hold for some query (many equal distances), the plain search answers for the block.
    """
    n = points.shape[0]
    bits = max(n - 1, 1).bit_length()
    ordered = _ordered(_nearness(points, queries))
    numbers = jnp.arange(n, dtype=jnp.int32) ^ ((1 << bits) - 1)  # of equals the first point is the largest
    keys = (ordered >> bits << bits) | numbers[:, None]
    found = _largest_packed(keys, min(k + SPARE, n), bits)
    candidates = _number(found, bits)
    values = jnp.take_along_axis(ordered, candidates, axis=0, mode="promise_in_bounds")
    for last in range(len(found) - 1, k - 1, -1):  # the farthest one leaves, the last one takes its place
        rows = jnp.arange(last + 1)[:, None]
        farthest = jnp.max(jnp.where(values == jnp.min(values, axis=0)[None, :], rows, 0), axis=0)
        leaves = rows[:-1] == farthest[None, :]
        values = jnp.where(leaves, values[-1:], values[:-1])
        candidates = jnp.where(leaves, candidates[-1:], candidates[:-1])
    exact = jnp.all(jnp.min(values, axis=0) >> bits > found[-1] >> bits) | (len(found) == n)

    def plainly() -> tuple[Array, Array]:
        nearest = _nearest_sorted(k, points, queries).T
        return nearest, jnp.take_along_axis(ordered, nearest, axis=0, mode="promise_in_bounds")

    return jax.lax.cond(exact, lambda: (candidates, values), plainly)


def _number(keys: Array, bits: int) -> Array:
    """Whose a packed key is."""
    return ~keys & ((1 << bits) - 1)


def _largest_packed(keys: Array, count: int, bits: int) -> Array:
    """The `count` largest packed keys of each column [n, queries], in decreasing order.

    The keys of a column are distinct, so its largest lie in those groups of points whose maxima are the
    largest: the passes run over the groups' maxima and then over the chosen groups' size * count keys.
    """
    n, queries = keys.shape
    size = GROUP if n <= GROUP * GROUPS else 2 * GROUP
    groups = n // size
    if n % size == 0 and groups > count:
        best = _number(_decreasing(keys.reshape(size, groups, queries).max(axis=0), count), bits) % groups
        members = best[None] + groups * jnp.arange(size)[:, None, None]
        rows = members.reshape(size * count, queries)
        keys = jnp.take_along_axis(keys, rows, axis=0, mode="promise_in_bounds")
    return _decreasing(keys, count)


def _decreasing(keys: Array, count: int) -> Array:
    """The `count` largest of distinct integers, by as many passes."""
    lowest = jnp.iinfo(keys.dtype).min

    def next_largest(keys: Array, _: None) -> tuple[Array, Array]:
        largest = jnp.max(keys, axis=0)
        return jnp.where(keys == largest[None, :], lowest, keys), largest

    return jax.lax.scan(next_largest, keys, length=count)[1]


def _ordered(values: Float[Array, "*axes"]) -> Int[Array, "*axes"]:
    """Integers in the order of the float32 values."""
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
