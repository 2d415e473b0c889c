"""MLSP: of a cloud with a masked cell tell where its points were, how densely they lie, and their normals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.geometry.chamfer import chamfer_distance
from smdsb_jax.geometry.curvature import normals
from smdsb_jax.geometry.neighbors import count_within
from smdsb_jax.geometry.regions import deform_voxels
from smdsb_jax.layers.heads import StructureHeads
from smdsb_jax.network import Passes, Train, run
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables

NOISE_VARIANCE, CHAMFER_SCALE = 0.001, 20.0  # DefRec's
COUNT_L1 = 0.05  # weight of the counts' distance beside the cross-entropy, wherever the release has them


class Prepared(NamedTuple):
    """Clean and masked clouds; of every point the row of its count, its normal, and their shares of M."""

    points: Float[Array, "batch n 3"]
    masked: Float[Array, "batch n 3"]
    mask: Bool[Array, "batch n"]
    row: Int[Array, "batch n"]
    row_share: Float[Array, "batch n"]
    normal: Float[Array, "batch n 3"]
    normal_share: Float[Array, "batch n"]


def mlsp(
    *,
    position_weight: float = 0.5,
    normal_weight: float = 0.5,
    cardinality_weight: float = 0.05,
    count_radius: float = 0.13,
    count_first: bool = True,
    count_bins: int = 16,
    count_width: int = 2,
    count_shift: int = 0,
    normal_neighbors: int = 20,
    masked_weight: float = 27.0,
    pooled: bool = True,
    min_share: float = 40 / 1024,
    dropout: float = 0.5,
    position_bias: bool = False,
) -> Pretext:
    """Masked local structure prediction   [Liang et al., ECCV 2022; as its release has it].

    A cell becomes noise as in `defrec`; of one pass three heads tell, for every point of the clean cloud:
    - `position` = w_p 20 CD over the cell, DefRec's Chamfer distance; 0 where there is none;
    - `normal` = -w_n sum_i m_i |cos(told, normal)| / M, at least -w_n;
    - `cardinality` = w_c sum_i m_i (CE(label_i, p_i) + 0.05 |sum_c c width p_ic - row_i|) / M, where row =
      clip(points within the radius - shift, 0, (bins - 1) width) and the label is half of each of the bins
      floor(row / width) and ceil(row / width);
    - m = 27 in the cell, 1 elsewhere, 0 where there is no normal; M = sum of m over the batch / clouds: the
      mean over the clouds is the release's one ratio of the batch.
    The release calls CE a divergence, |.| a squared error; only its script's flags turn these tasks on.
    For PointSegDA it has all three weights 0.02, and no script.

    Args:
      position_weight: w_p; the classification's is 1 - w_p. Each task is left out at weight 0.
      normal_weight: w_n.
      cardinality_weight: w_c.
      count_radius: in radii of the cloud, boundary and point included; released: one per target.
      count_first: False, as released: the cloud's first point is counted by none.
      count_bins: with `count_width` counts in each. Released for PointSegDA: 16 of 5, after a shift of 10.
      count_width: see `count_bins`.
      count_shift: see `count_bins`.
      normal_neighbors: that make the plane, the point included. Released for PointSegDA: 10.
      masked_weight: m of a masked point; 27 is the number of cells. Released for PointSegDA: 2.
      pooled: False: M is each cloud's own sum.
      min_share: of the points; a cell with fewer is not masked. Released: 40 of 1,024; of PointSegDA's 2,048
        points 40 too, the share 40 / 2048.
      dropout: in the heads.
      position_bias: whether the layers of the head of positions have biases, as released for PointSegDA.

    Raises:
      ValueError: an option out of its range, or no task.
    """
    weights = {"position": position_weight, "normal": normal_weight, "cardinality": cardinality_weight}
    limits = {f"{name}_weight": (weight, 0, 1e6) for name, weight in weights.items()} | {
        "count_radius": (count_radius, 1e-6, 2), "count_bins": (count_bins, 2, 1000),
        "count_width": (count_width, 1, 1000), "count_shift": (count_shift, 0, 10**6),
        "normal_neighbors": (normal_neighbors, 2, 1000), "masked_weight": (masked_weight, 0, 1e6),
        "min_share": (min_share, 0, 1), "dropout": (dropout, 0, 0.99),
    }  # fmt: skip
    for name, (value, low, high) in limits.items():
        check_range(f"pretext.{name}", value, low, high)
    if not (names := tuple(name for name, weight in weights.items() if weight)):
        raise ValueError("config.pretext.position_weight, normal_weight, cardinality_weight = 0: raise one.")
    heads = StructureHeads(names, count_bins, dropout, position_bias)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        return dict(heads.lazy_init(key, features, train=False)), ()

    def row_of(points: Float[Array, "n 3"]) -> Int[Array, " n"]:
        of_first = jnp.sum((points - points[:1]) ** 2, axis=-1) <= count_radius**2
        count = count_within(points, count_radius) - (0 if count_first else of_first)
        return jnp.clip(count - count_shift, 0, (count_bins - 1) * count_width)

    def prepare(view: View, key: jax.Array) -> Prepared:
        masked, mask = deform_voxels(key, view.points, min_share, NOISE_VARIANCE)
        row, normal = jax.vmap(lambda p: (row_of(p), normals(p, normal_neighbors)))(view.points)
        weight = jnp.where(mask, masked_weight, 1.0)
        row_share, normal_share = (shares(weight * has, pooled) for has in (1, jnp.any(normal != 0, axis=-1)))
        return Prepared(view.points, masked, mask, row, row_share, normal, normal_share)

    def loss(
        passes: Passes, variables: Variables, state: Tree, prepared: Prepared, key: jax.Array, *,
        train: Train = True,
    ) -> Losses:  # fmt: skip
        del state
        encoder_key, head_key = jax.random.split(key)
        points, masked, mask, row, row_share, normal, normal_share = prepared
        features, variables = passes.encode(variables, masked, encoder_key, train=train)
        told, variables = run(heads, variables, "pretext", features, train=train, key=head_key)
        losses = {
            "position": lambda told: CHAMFER_SCALE * jax.vmap(chamfer_distance)(points, told, mask),
            "normal": lambda told: -jnp.sum(normal_share * alignment(told, normal), axis=1),
            "cardinality": lambda told: jnp.sum(row_share * count_loss(told, row, count_width), axis=1),
        }
        return Losses({name: weights[name] * losses[name](told[name]) for name in names}, variables)

    return Pretext(init, prepare, loss, names)


def shares(weight: Float[Array, "batch n"], pooled: bool) -> Float[Array, "batch n"]:
    """The weights over M: all together as many as clouds, or each cloud's 1; 0 where nothing weighs."""
    total = jnp.sum(weight, axis=None if pooled else 1, keepdims=True)
    return weight * (len(weight) if pooled else 1) / jnp.where(total > 0, total, 1)


def alignment(told: Float[Array, "*points 3"], normal: Float[Array, "*points 3"]) -> Float[Array, "*points"]:
    """|cosine| of the angle with a unit vector; 0 of a vector without direction."""
    length = jnp.sqrt(jnp.maximum(jnp.sum(told**2, axis=-1), 1e-24))  # at least 1e-12, as released
    return jnp.abs(jnp.sum(told * normal, axis=-1)) / length


def soft_label(row: Int[Array, "*points"], width: int, bins: int) -> Float[Array, "*points bins"]:
    """Half of the bin at or below row / width and half of that at or above; one-hot where they are one."""
    return (jax.nn.one_hot(row // width, bins) + jax.nn.one_hot(-(-row // width), bins)) / 2


def count_loss(logits: Float[Array, "*n bins"], row: Int[Array, "*n"], width: int) -> Float[Array, "*n"]:
    """Cross-entropy with the soft label, and the distance of the expected row from the true one."""
    p, bins = jax.nn.softmax(logits, axis=-1), logits.shape[-1]
    cross_entropy = -jnp.sum(soft_label(row, width, bins) * jnp.log(p + 1e-10), axis=-1)  # as released
    return cross_entropy + COUNT_L1 * jnp.abs(p @ (width * jnp.arange(bins, dtype=p.dtype)) - row)
