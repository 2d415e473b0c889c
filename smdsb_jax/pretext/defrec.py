"""DefRec: deform a region of the cloud, rebuild it from the encoder's features."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.geometry import chamfer_distance
from smdsb_jax.heads import ReconstructionHead
from smdsb_jax.network import run
from smdsb_jax.pretext.base import Encode, Pretext, View
from smdsb_jax.state import Features, Tree, Variables

CELLS = 3  # per axis, on [-1, 1]

Deformed = tuple[Float[Array, "n 3"], Bool[Array, " n"]]


def defrec(
    *,
    region: str = "voxel",
    radius: float = 0.5,
    min_points: int = 40,
    noise_variance: float = 0.001,
    scale: float = 20.0,
    dropout: float = 0.5,
) -> Pretext:
    """Deformation reconstruction   [Achituve et al., arXiv:2003.12641; SM-DSB, arXiv:2504.15796, Table I].

    Args:
      region: `voxel`: a cell of a 3 x 3 x 3 grid (PointDA-10), or `radius`: a ball (PointSegDA).
      radius: of the ball, in radii of the cloud.
      min_points: a region with fewer is not deformed; the released radius variant has 20.
      noise_variance: of the points that replace the region, per axis.
      scale: of the Chamfer distance (unit: coordinate squared); GAST's copy has 8.
      dropout: in the reconstruction head.

    Raises:
      ValueError: an unknown region.
    """
    if region not in ("voxel", "radius"):
        raise ValueError(f"config.pretext.region = {region!r}: one of 'voxel', 'radius'.")
    head = ReconstructionHead(dropout=dropout)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        return dict(head.lazy_init(key, features, train=False)), ()

    def loss(
        encode: Encode, variables: Variables, state: Tree, view: View, key: jax.Array
    ) -> tuple[dict[str, Float[Array, " batch"]], Variables]:
        del state
        region_key, noise_key, encoder_key, head_key = jax.random.split(key, 4)
        keys = jax.random.split(noise_key, view.points.shape[0])
        if region == "voxel":
            order = jax.random.permutation(region_key, CELLS**3)  # one for the batch, as released
            deform = functools.partial(deform_voxel, order)
        else:
            deform = functools.partial(deform_ball, radius)
        deformed, mask = jax.vmap(lambda k, p: deform(k, p, min_points, noise_variance))(keys, view.points)
        features, variables = encode(variables, deformed, encoder_key)
        rebuilt, variables = run(head, variables, "pretext", features, train=True, key=head_key)
        return {"reconstruction": scale * jax.vmap(chamfer_distance)(view.points, rebuilt, mask)}, variables

    return Pretext(init, loss)


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
