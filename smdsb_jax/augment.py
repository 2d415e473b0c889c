"""Views of stored clouds: cut, turned, distorted, mixed. Pure functions of a key and, mostly, one cloud."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from smdsb_jax.geometry.farthest_points import farthest_point_sampling
from smdsb_jax.state import Batch, Clouds

ELASTIC = ((0.2, 0.4), (0.8, 1.6))  # (distance of the grid's nodes, magnitude), one after the other


class Augment(NamedTuple):
    """How training clouds are augmented: `config.augment`, `data.points` and `data.subsample`."""

    points: int
    subsample: str
    rotate: str
    jitter_std: float
    jitter_clip: float
    rotate_target: bool = True
    elastic: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    occlusion: float = 0.0


class Taken(NamedTuple):
    """Points of a cloud, and which they were, so that labels of points can follow."""

    points: Float[Array, "n 3"]
    rows: Int[Array, " n"]


class Mixed(NamedTuple):
    """Clouds of two parts each."""

    points: Float[Array, "batch n 3"]
    partner: Int[Array, " batch"]  # whose points the second part has
    share: Float[Array, ""]  # of the cloud's own points, the same for all
    rows: Int[Array, "batch n"]  # which points: of the cloud itself below n, of its partner from n on


def subsample(key: jax.Array, cloud: Float[Array, "stored 3"], count: int, method: str) -> Taken:
    """`count` of the stored points: `fps` (random start), `uniform` (without replacement) or `first`.

    Raises:
      ValueError: fewer stored points than `count`; data sets resample short clouds when they load.
    """
    stored = cloud.shape[0]
    if stored < count:
        raise ValueError(f"config.data.points = {count}, but the clouds have {stored} points: lower it.")
    if stored == count or method == "first":
        return Taken(cloud[:count], jnp.arange(count))
    if method == "uniform":
        rows = jax.random.permutation(key, stored)[:count]
    else:
        rows = farthest_point_sampling(cloud, count, jax.random.randint(key, (), 0, stored))
    return Taken(cloud[rows], rows)


def rotate(key: jax.Array, points: Float[Array, "n 3"], axis: str) -> Float[Array, "n 3"]:
    """Turn by a random angle about `axis` (x or z; z is up), or leave as is (none)."""
    if axis == "none":
        return points
    angle = jax.random.uniform(key, (), points.dtype, 0, 2 * jnp.pi)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    if axis == "z":
        return jnp.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)
    return jnp.stack([x, cos * y - sin * z, sin * y + cos * z], axis=-1)


def remove_half_space(key: jax.Array, cloud: Float[Array, "stored 3"], share: float, at_least: int) -> Taken:
    """Without the `share` of the points that lie lowest along a random direction; share 0: as it is.

    What a sensor on one side misses. The kept number is static; clouds that would be left with fewer than
    `at_least` points repeat some.   [Cardace et al., WACV 2023, arXiv:2210.08226; theirs cuts last]
    """
    stored = cloud.shape[0]
    if share == 0:
        return Taken(cloud, jnp.arange(stored))
    kept = stored - int(share * (stored - 1)) - 1  # strictly above that percentile
    direction = jax.random.normal(key, (3,), cloud.dtype)  # its length does not matter
    rows = jnp.argsort(-(cloud @ direction))[jnp.arange(max(kept, at_least)) % kept]
    return Taken(cloud[rows], rows)


def scale(key: jax.Array, points: Float[Array, "n 3"], low: float, high: float) -> Float[Array, "n 3"]:
    """Times a factor from U(low, high), the same for all coordinates."""
    if low == high == 1:
        return points
    return points * jax.random.uniform(key, (), points.dtype, low, high)


def distort_elastically(
    key: jax.Array, points: Float[Array, "n 3"], probability: float
) -> Float[Array, "n 3"]:
    """Move the points by two smooth random fields, fine then coarse, with that probability.

    [Cardace et al., WACV 2023, arXiv:2210.08226, as released; the grids are those of a cloud in the unit
    ball, so that shapes are static]
    """
    if probability == 0:
        return points
    coin, *keys = jax.random.split(key, 1 + len(ELASTIC))
    moved = points
    for field_key, (distance, magnitude) in zip(keys, ELASTIC, strict=True):
        nodes = int(2 / distance + 1e-6) + 3
        noise = jax.random.normal(field_key, (nodes, nodes, nodes, 3), points.dtype)
        moved = moved + magnitude * smooth_field(noise, moved, distance)
    return jnp.where(jax.random.uniform(coin) < probability, moved, points)


def smooth_field(
    noise: Float[Array, "g g g 3"], points: Float[Array, "n 3"], distance: float
) -> Float[Array, "n 3"]:
    """`noise` on a grid about the points, smoothed, interpolated linearly at each point.

    The grid has floor(extent / distance) + 3 nodes per axis, the first one `distance` below the lowest
    coordinate; of `noise` so many are used. Two rounds of means over 3 nodes along each axis, zero outside.
    """
    nodes = noise.shape[0]
    lowest = jnp.min(points, axis=0)
    used = jnp.floor((jnp.max(points, axis=0) - lowest) / distance) + 3
    inside = jnp.arange(nodes)[:, None] < used[None, :]
    inside = inside[:, None, None, 0] & inside[None, :, None, 1] & inside[None, None, :, 2]
    field = jnp.where(inside[..., None], noise, 0)
    for axis in (0, 1, 2) * 2:
        padded = jnp.pad(field, [(1, 1) if i == axis else (0, 0) for i in range(4)])
        parts = (jax.lax.slice_in_dim(padded, i, i + nodes, axis=axis) for i in range(3))
        field = jnp.where(inside[..., None], sum(parts, jnp.zeros_like(field)) / 3, 0)
    position = (points - lowest[None, :]) / distance + 1
    corner = jnp.clip(jnp.floor(position), 0, nodes - 2).astype(jnp.int32)
    share = position - corner
    flat = field.reshape(-1, 3)
    total = jnp.zeros_like(points)
    for step in itertools.product((0, 1), repeat=3):
        x, y, z = (corner[:, i] + step[i] for i in range(3))
        weight = jnp.prod(jnp.where(jnp.array(step)[None, :] == 1, share, 1 - share), axis=1)
        total += weight[:, None] * flat[(x * nodes + y) * nodes + z]
    return total


def jitter(key: jax.Array, points: Float[Array, "n 3"], std: float, clip: float) -> Float[Array, "n 3"]:
    """Add N(0, std^2) to each coordinate, clipped to ±clip."""
    noise = std * jax.random.normal(key, points.shape, points.dtype)
    return points + jnp.clip(noise, -clip, clip)


def point_cloud_mixup(key: jax.Array, points: Float[Array, "batch n 3"], alpha: float) -> Mixed:
    """Mix each cloud with a random partner.

    The share λ ~ Beta(alpha, alpha), one per batch; round(λ n) points of the cloud and the rest of its
    partner, each part by farthest point sampling from a random start. The points are not shuffled: the
    networks treat them as a set.   [PCM; Achituve et al., arXiv:2003.12641, 3.3]
    """
    batch, n, _ = points.shape
    share_key, partner_key, start_key = jax.random.split(key, 3)
    share = jax.random.beta(share_key, alpha, alpha, dtype=points.dtype)
    partner = jax.random.permutation(partner_key, batch)
    spread, order = spread_order(start_key, points)
    rows = join(order[:, :, None], n + order[partner][:, :, None], share)[:, :, 0]
    return Mixed(join(spread, spread[partner], share), partner, share, rows)


def spread_order(
    key: jax.Array, points: Float[Array, "batch n 3"]
) -> tuple[Float[Array, "batch n 3"], Int[Array, "batch n"]]:
    """The points of each cloud in the order of farthest point sampling from a random start, and that order.

    A prefix of a farthest point sampling is one itself, so one order serves every number of points.
    """
    batch, n, _ = points.shape
    start = jax.random.randint(key, (batch,), 0, n)
    order = jax.vmap(lambda p, s: farthest_point_sampling(p, n, s))(points, start)
    return jnp.take_along_axis(points, order[:, :, None], axis=1), order


def join(
    own: Shaped[Array, "batch n c"], other: Shaped[Array, "batch n c"], share: Float[Array, ""]
) -> Shaped[Array, "batch n c"]:
    """The first round(share n) rows of `own`, then as many of `other` as make n again."""
    n = own.shape[1]
    slot, count = jnp.arange(n), jnp.round(share * n).astype(jnp.int32)
    from_other = other[:, jnp.maximum(slot - count, 0)]
    return jnp.where((slot < count)[None, :, None], own, from_other)


def follow(label: Any, rows: Int[Array, "batch n"]) -> Any:
    """Labels [batch, *points], or their weights, of the points that were taken; those of whole clouds stay.

    None stays None.
    """
    return (
        label if label is None or label.ndim == 1 else jnp.take_along_axis(jnp.asarray(label), rows, axis=1)
    )


@jax.named_scope("augment")
def augment_batch(how: Augment, key: jax.Array, batch: Batch) -> Batch:
    """The mini-batch as the network gets it: cut, sub-sampled, rotated, distorted, scaled, jittered.

    Only source clouds lose a half-space: scans, the usual target, are occluded as they are.
    """

    def one(axis: str, occlusion: float, key: jax.Array, cloud: Array) -> Taken:
        keys = jax.random.split(key, 3)  # of what every host does; what some do has keys of its own
        cut_key, distort_key, scale_key = jax.random.split(jax.random.fold_in(key, 3), 3)
        cut = remove_half_space(cut_key, cloud, occlusion, how.points)
        points, rows = subsample(keys[0], cut.points, how.points, how.subsample)
        points = rotate(keys[1], points, axis)
        points = distort_elastically(distort_key, points, how.elastic)
        points = scale(scale_key, points, *how.scale)
        points = jitter(keys[2], points, how.jitter_std, how.jitter_clip)
        return Taken(points, cut.rows[rows])

    def half(key: jax.Array, clouds: Clouds, axis: str, occlusion: float) -> Clouds:
        keys = jax.random.split(key, clouds.points.shape[0])
        points, rows = jax.vmap(functools.partial(one, axis, occlusion))(keys, clouds.points)
        return Clouds(points, follow(clouds.label, rows), follow(clouds.weight, rows))

    source_key, target_key = jax.random.split(key)
    return Batch(
        half(source_key, batch.source, how.rotate, how.occlusion),
        half(target_key, batch.target, how.rotate if how.rotate_target else "none", 0.0),
    )
