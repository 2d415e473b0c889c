"""Regions of one cloud: replaced by noise, moved or squeezed flat; `jax.vmap` outside for a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.geometry.neighbors import count_within

CELLS = 3  # per axis, on [-1, 1]

Deformed = tuple[Float[Array, "*clouds n 3"], Bool[Array, "*clouds n"]]  # the cloud, where it was changed


def least_points(share: float, points: int) -> int:
    """A share of the points of a cloud, rounded half up; at least one."""
    return max(int(share * points + 0.5), 1)


def cell_of(points: Float[Array, "n 3"]) -> Int[Array, " n"]:
    """9 ix + 3 iy + iz on the grid over [-1, 1]^3; a point on a wall belongs to the cell above it.

    The release gives such points to cell 0, whose region they do not touch.
    """
    index = jnp.clip(jnp.floor((points + 1) * (CELLS / 2)), 0, CELLS - 1).astype(jnp.int32)
    return index[:, 0] * CELLS**2 + index[:, 1] * CELLS + index[:, 2]


def cell_center(cell: Int[Array, ""]) -> Float[Array, " 3"]:
    """Coordinates -2/3, 0 or 2/3, x slowest."""
    index = jnp.stack([cell // CELLS**2, cell // CELLS % CELLS, cell % CELLS])
    return (2 * index + 1) / CELLS - 1.0


def permute_cells(
    permutation: Int[Array, " 27"], points: Float[Array, "n 3"]
) -> tuple[Float[Array, "n 3"], Int[Array, " n"]]:
    """Move each cell as it is to the place of another: cell v to that of `permutation[v]`.

    Returns the moved points, in their order, and the cell that each was in. A point beyond the grid moves
    with the cell nearest to it.
    """
    cell = cell_of(points)
    centers = jax.vmap(cell_center)(jnp.arange(CELLS**3)).astype(points.dtype)
    return points + (centers[permutation] - centers)[cell], cell


def deform_voxel(
    order: Int[Array, " 27"], key: jax.Array, points: Float[Array, "n 3"], min_points: int, variance: float
) -> Deformed:
    """Replace the first cell in `order` with at least `min_points` points by noise about its center.

    Returns the cloud and the mask of the replaced points; nothing is replaced where no cell qualifies.
    """
    cells = cell_of(points)
    counts = jnp.zeros(CELLS**3, jnp.int32).at[cells].add(1)
    qualifies = counts[order] >= min_points
    cell = order[jnp.argmax(qualifies)]  # the first
    mask = (cells == cell) & jnp.any(qualifies)
    return _collapse(key, points, mask, cell_center(cell).astype(points.dtype), variance)


def deform_voxels(
    key: jax.Array, points: Float[Array, "clouds n 3"], min_share: float, variance: float
) -> Deformed:
    """`deform_voxel` of several clouds, whose cells are tried in one order, as DefRec has it."""
    order_key, noise_key = jax.random.split(key)
    order = jax.random.permutation(order_key, CELLS**3)
    keys = jax.random.split(noise_key, points.shape[0])
    least = least_points(min_share, points.shape[1])
    return jax.vmap(lambda k, p: deform_voxel(order, k, p, least, variance))(keys, points)


def deform_ball(
    radius: float, key: jax.Array, points: Float[Array, "n 3"], min_points: int, variance: float
) -> Deformed:
    """Replace the ball (boundary included) about a random point that has `min_points` in it by noise."""
    pick_key, noise_key = jax.random.split(key)
    qualifies = count_within(points, radius) >= min_points
    center = points[jnp.argmax(jnp.where(qualifies, jax.random.uniform(pick_key, qualifies.shape), -1.0))]
    inside = jnp.sum((points - center[None, :]) ** 2, axis=-1) <= radius**2
    return _collapse(noise_key, points, inside & jnp.any(qualifies), center, variance)


def squeeze_region(key: jax.Array, points: Float[Array, "n 3"], count: int) -> Deformed:
    """Project the `count` points nearest to a random one onto a plane through their mean, its normal random.

    Returns the cloud and the mask of the region, which has exactly `count` points; the others stay.
    """
    pick_key, normal_key = jax.random.split(key)
    mask = nearest_points(points, points[jax.random.randint(pick_key, (), 0, points.shape[0])], count)
    normal = jax.random.normal(normal_key, (3,), points.dtype)  # its direction is uniform on the sphere
    return project(points, mask, normal / jnp.linalg.norm(normal)), mask


def nearest_points(points: Float[Array, "n 3"], point: Float[Array, " 3"], count: int) -> Bool[Array, " n"]:
    """Mask of exactly `count` points, those nearest to `point`; of equally near ones the first."""
    squared = jnp.sum((points - point[None, :]) ** 2, axis=-1)
    return jnp.zeros(points.shape[0], bool).at[jax.lax.top_k(-squared, count)[1]].set(True)


def project(
    points: Float[Array, "n 3"], mask: Bool[Array, " n"], normal: Float[Array, " 3"]
) -> Float[Array, "n 3"]:
    """The masked points without their height over the plane through their mean; the others as they are.

    x - ((x - g) . u) u with the mean g of the masked points and the unit normal u.
    """
    mean = jnp.sum(jnp.where(mask[:, None], points, 0), axis=0) / jnp.maximum(jnp.sum(mask), 1)
    height = jnp.sum((points - mean[None, :]) * normal[None, :], axis=-1)
    return jnp.where(mask[:, None], points - height[:, None] * normal[None, :], points)


def _collapse(
    key: jax.Array,
    points: Float[Array, "n 3"],
    mask: Bool[Array, " n"],
    center: Float[Array, " 3"],
    variance: float,
) -> Deformed:
    noise = jnp.sqrt(variance).astype(points.dtype) * jax.random.normal(key, points.shape, points.dtype)
    return jnp.where(mask[:, None], center[None, :] + noise, points), mask
