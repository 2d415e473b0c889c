"""DefRec: deform a region of the cloud, rebuild it from the encoder's features."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.geometry import chamfer_distance
from smdsb_jax.heads import ReconstructionHead
from smdsb_jax.network import Passes, Train, run
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables

CELLS = 3  # per axis, on [-1, 1]

Deformed = tuple[Float[Array, "*clouds n 3"], Bool[Array, "*clouds n"]]  # the cloud, where it was replaced


class Prepared(NamedTuple):
    """Clouds with the region that was replaced."""

    points: Float[Array, "batch n 3"]
    deformed: Float[Array, "batch n 3"]
    mask: Bool[Array, "batch n"]


def defrec(
    *, min_share: float = 40 / 1024, noise_variance: float = 0.001, scale: float = 20.0, dropout: float = 0.5
) -> Pretext:
    """Deform a cell of a 3 x 3 x 3 grid   [Achituve et al., arXiv:2003.12641; SM-DSB, arXiv:2504.15796].

    Args:
      min_share: of the points; a cell with fewer is not deformed. Released: 40 of 1,024.
      noise_variance: of the points that replace the region, per axis.
      scale: of the Chamfer distance (unit: coordinate squared); GAST's copy has 8.
      dropout: in the reconstruction head.

    Raises:
      ValueError: an option out of its range.
    """

    def deform(key: jax.Array, keys: jax.Array, points: Float[Array, "batch n 3"]) -> Deformed:
        order = jax.random.permutation(key, CELLS**3)  # one for the batch, as released
        least = least_points(min_share, points.shape[1])
        return jax.vmap(lambda k, p: deform_voxel(order, k, p, least, noise_variance))(keys, points)

    return _reconstruction(deform, min_share, noise_variance, scale, dropout)


def defrec_radius(
    *,
    radius: float = 0.5,
    min_share: float = 20 / 1024,
    noise_variance: float = 0.001,
    scale: float = 20.0,
    dropout: float = 0.5,
) -> Pretext:
    """Deform a ball about a random point   [Achituve et al., arXiv:2003.12641, as released for PointSegDA].

    Args:
      radius: of the ball, in radii of the cloud.
      min_share: of the points; a ball with fewer is not deformed. Released: 20 points.
      noise_variance: of the points that replace the region, per axis.
      scale: of the Chamfer distance (unit: coordinate squared).
      dropout: in the reconstruction head.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pretext.radius", radius, 0, 2)

    def deform(key: jax.Array, keys: jax.Array, points: Float[Array, "batch n 3"]) -> Deformed:
        del key
        least = least_points(min_share, points.shape[1])
        return jax.vmap(lambda k, p: deform_ball(radius, k, p, least, noise_variance))(keys, points)

    return _reconstruction(deform, min_share, noise_variance, scale, dropout)


def _reconstruction(
    deform: Callable[[jax.Array, jax.Array, Float[Array, "batch n 3"]], Deformed],
    min_share: float,
    noise_variance: float,
    scale: float,
    dropout: float,
) -> Pretext:
    """The task of rebuilding what `deform(key of the batch, key of each cloud, points)` replaced."""
    check_range("pretext.min_share", min_share, 0, 1)
    check_range("pretext.noise_variance", noise_variance, 0, 1)
    check_range("pretext.scale", scale, 0, 1e6)
    check_range("pretext.dropout", dropout, 0, 0.99)
    head = ReconstructionHead(dropout=dropout)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        return dict(head.lazy_init(key, features, train=False)), ()

    def prepare(view: View, key: jax.Array) -> Prepared:
        region_key, noise_key = jax.random.split(key)
        keys = jax.random.split(noise_key, view.points.shape[0])
        return Prepared(view.points, *deform(region_key, keys, view.points))

    def loss(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Prepared,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses:
        del state
        encoder_key, head_key = jax.random.split(key)
        points, deformed, mask = prepared
        features, variables = passes.encode(variables, deformed, encoder_key, train=train)
        rebuilt, variables = run(head, variables, "pretext", features, train=train, key=head_key)
        distance = jax.vmap(chamfer_distance)(points, rebuilt, mask)
        return Losses({"reconstruction": scale * distance}, variables)

    return Pretext(init, prepare, loss, ("reconstruction",))


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


def deform_ball(
    radius: float, key: jax.Array, points: Float[Array, "n 3"], min_points: int, variance: float
) -> Deformed:
    """Replace the ball (boundary included) about a random point that has `min_points` in it by noise."""
    pick_key, noise_key = jax.random.split(key)
    squared = jnp.sum((points[:, None, :] - points[None, :, :]) ** 2, axis=-1)
    inside = squared <= radius**2
    qualifies = jnp.sum(inside, axis=1) >= min_points
    pick = jnp.argmax(jnp.where(qualifies, jax.random.uniform(pick_key, qualifies.shape), -1.0))
    return _collapse(noise_key, points, inside[pick] & jnp.any(qualifies), points[pick], variance)


def _collapse(
    key: jax.Array,
    points: Float[Array, "n 3"],
    mask: Bool[Array, " n"],
    center: Float[Array, " 3"],
    variance: float,
) -> Deformed:
    noise = jnp.sqrt(variance).astype(points.dtype) * jax.random.normal(key, points.shape, points.dtype)
    return jnp.where(mask[:, None], center[None, :] + noise, points), mask
