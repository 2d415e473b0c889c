"""GAST: tell by which angles the two parts of a mixed cloud were turned, and which cell was distorted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.augment import join, spread_order
from smdsb_jax.geometry.curvature import ROUNDEST, normals_and_curvature
from smdsb_jax.geometry.regions import CELLS, cell_of, deform_voxels
from smdsb_jax.layers.basic import Dense
from smdsb_jax.network import Passes, Train
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables
from smdsb_jax.tasks import cross_entropy

TURNS = 4  # by 0, 90, 180 and 270 degrees


class Mixed(NamedTuple):
    """Clouds of two turned parts, how each part was turned and how much of the cloud the first one is."""

    points: Float[Array, "batch n 3"]
    about_x: Int[Array, " batch"]  # quarter turns of the first part
    about_y: Int[Array, " batch"]  # of the other
    share: Float[Array, " batch"]  # the same for all


class Distorted(NamedTuple):
    """Clouds with one cell distorted, which one, and the weight of telling it; 0 where none was."""

    points: Float[Array, "batch n 3"]
    cell: Int[Array, " batch"]
    weight: Float[Array, " batch"]


class Prepared(NamedTuple):
    """The two views; None where a task is left out."""

    distorted: Distorted | None
    mixed: Mixed | None


def gast(
    *,
    rotation_weight: float = 0.2,
    distortion_weight: float = 0.5,
    min_share: float = 20 / 1024,
    noise_variance: float = 0.001,
    curvature_factor: float = 0.0,
) -> Pretext:
    """Classify angles and the distorted cell   [geometry-aware self-training, Zou et al., ICCV 2021].

    Losses, each with its weight: `distortion` = w_d f CE(distorted cell), 27 cells; from a pass of its own
    `rotation` = w_r (λ CE(turn of part 1) + (1 - λ) CE(turn of part 2)), 4 turns, λ ~ U(0, 1) one per batch.
    A linear head per label, on the embedding. f is 1, or with a curvature factor that times the cell's
    `share_of_curvature`. A cloud without a cell of `min_share` stays as it is and has no distortion loss
    (the release labels it cell 0).

    Where the release departs from the paper, the paper is followed, because the labels are then true: the
    release mixes a cloud with itself and trains the first rotation head on the second one's labels. Axes
    and heads are the release's for DGCNN; with PointNet its cell head has a hidden layer on the normalized
    embedding.

    Args:
      rotation_weight: w_r; 0 leaves the pass out.
      distortion_weight: w_d; 0 leaves the pass out.
      min_share: of the points; a cell with fewer is not distorted. Released: 20 of 1,024.
      noise_variance: of the points that replace the cell's, per axis.
      curvature_factor: 0: all cells count the same; 100 in the release's code for it, which is switched off.

    Raises:
      ValueError: an option out of its range, or both weights 0.
    """
    check_range("pretext.rotation_weight", rotation_weight, 0, 1e6)
    check_range("pretext.distortion_weight", distortion_weight, 0, 1e6)
    check_range("pretext.min_share", min_share, 0, 1)
    check_range("pretext.noise_variance", noise_variance, 0, 1)
    check_range("pretext.curvature_factor", curvature_factor, 0, 1e6)
    if rotation_weight == distortion_weight == 0:
        raise ValueError(
            "config.pretext.rotation_weight = config.pretext.distortion_weight = 0: no task is left. Raise "
            "one, or choose the pretext task none."
        )
    classes = ({"cell": CELLS**3} if distortion_weight else {}) | (
        {"about_x": TURNS, "about_y": TURNS} if rotation_weight else {}
    )

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        keys = jax.random.split(key, len(classes))
        heads = {
            name: Dense(count).lazy_init(k, features.embedding)["params"]
            for k, (name, count) in zip(keys, classes.items(), strict=True)
        }
        return {"params": heads, "batch_stats": {}}, ()

    def logits(variables: Variables, name: str, features: Features) -> Float[Array, "batch classes"]:
        own = variables["params"]["pretext"][name]
        out: Any = Dense(classes[name]).apply({"params": own}, features.embedding)
        return out

    def distort(points: Float[Array, "batch n 3"], key: jax.Array) -> Distorted:
        distorted, mask = deform_voxels(key, points, min_share, noise_variance)
        weight = jnp.where(jnp.any(mask, axis=1), distortion_weight, 0.0)
        if curvature_factor:
            curvature = jax.vmap(normals_and_curvature)(points)[1]
            weight = weight * curvature_factor * jax.vmap(share_of_curvature)(curvature, mask)
        return Distorted(distorted, jax.vmap(cell_within)(points, mask), weight)

    def prepare(view: View, key: jax.Array) -> Prepared:
        distortion_key, rotation_key = jax.random.split(key)
        return Prepared(
            distort(view.points, distortion_key) if distortion_weight else None,
            mix_turned(rotation_key, view.points) if rotation_weight else None,
        )

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
        distortion_key, rotation_key = jax.random.split(key)
        losses, solved = {}, {}
        if distorted := prepared.distorted:
            features, variables = passes.encode(variables, distorted.points, distortion_key, train=train)
            of_cell = logits(variables, "cell", features)
            losses["distortion"] = distorted.weight * cross_entropy(of_cell, distorted.cell)
            solved["distortion"] = is_right(of_cell, distorted.cell)
        if mixed := prepared.mixed:
            features, variables = passes.encode(variables, mixed.points, rotation_key, train=train)
            first, other = (logits(variables, name, features) for name in ("about_x", "about_y"))
            of_first, of_other = cross_entropy(first, mixed.about_x), cross_entropy(other, mixed.about_y)
            losses["rotation"] = rotation_weight * (mixed.share * of_first + (1 - mixed.share) * of_other)
            solved["rotation"] = (is_right(first, mixed.about_x) + is_right(other, mixed.about_y)) / 2
        return Losses(losses, variables, solved)

    names = [name for name, w in (("distortion", distortion_weight), ("rotation", rotation_weight)) if w]
    return Pretext(init, prepare, loss, tuple(names))


def is_right(logits: Float[Array, "batch classes"], label: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """1 where the most probable class is the label, else 0."""
    return (jnp.argmax(logits, axis=-1) == label).astype(logits.dtype)


def cell_within(points: Float[Array, "n 3"], mask: Bool[Array, " n"]) -> Int[Array, ""]:
    """The cell of the points under a mask that holds one cell; any where it is empty."""
    return cell_of(points)[jnp.argmax(mask)]


def share_of_curvature(curvature: Float[Array, " n"], mask: Bool[Array, " n"]) -> Float[Array, ""]:
    """κ = sum of |c| over the mask / sum of |c| over all, c the curvature mapped from [0, 1/3] to [-1, 1].

    The paper maps by the extremes of the data set. The ends of the possible range make a cloud's value its
    own: it depends neither on other clouds nor on an outlier among them, and needs no pass over the data.
    A plane has c = -1 either way.
    """
    weight = jnp.abs(2 / ROUNDEST * curvature - 1)
    total = jnp.sum(weight)
    return jnp.sum(jnp.where(mask, weight, 0)) / jnp.where(total > 0, total, 1)


def mix_turned(key: jax.Array, points: Float[Array, "batch n 3"]) -> Mixed:
    """round(λ n) points of each cloud, turned about x, and for the rest another cloud's, turned about y.

    Each part by farthest point sampling, which turning does not change. λ ~ U(0, 1), one per batch; every
    cloud is the other one once (in a batch of one its own). Points are not shuffled: networks see a set.
    """
    batch = points.shape[0]
    share_key, partner_key, start_key, *turn_keys = jax.random.split(key, 5)
    share = jax.random.uniform(share_key, (), points.dtype)
    about_x, about_y = (jax.random.randint(k, (batch,), 0, TURNS) for k in turn_keys)
    ring = jax.random.permutation(partner_key, batch)  # each one's partner is the next in the ring
    partner = jnp.zeros_like(ring).at[ring].set(jnp.roll(ring, -1))
    spread, _ = spread_order(start_key, points)
    first = jax.vmap(turn_about_x)(spread, about_x)
    other = jax.vmap(turn_about_y)(spread[partner], about_y)
    return Mixed(join(first, other, share), about_x, about_y, jnp.full(batch, share))


def turn_about_x(points: Float[Array, "n 3"], quarters: Int[Array, ""]) -> Float[Array, "n 3"]:
    """Rows times the matrix of a rotation by `quarters` · 90°: one maps (x, y, z) to (x, z, -y). Exact."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return jnp.stack([x, _of_four(quarters, y, z), _of_four(quarters, z, -y)], axis=-1)


def turn_about_y(points: Float[Array, "n 3"], quarters: Int[Array, ""]) -> Float[Array, "n 3"]:
    """Rows times the matrix of a rotation by `quarters` · 90°: one maps (x, y, z) to (-z, y, x). Exact."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return jnp.stack([_of_four(quarters, x, -z), y, _of_four(quarters, z, x)], axis=-1)


def _of_four(quarters: Int[Array, ""], now: Float[Array, " n"], later: Float[Array, " n"]) -> Array:
    """A coordinate after so many quarter turns, from its values after none and one; two negate it."""
    return jnp.where(quarters < 2, 1, -1) * jnp.where(quarters % 2 == 0, now, later)
