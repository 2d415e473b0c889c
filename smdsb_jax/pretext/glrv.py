"""GLRV-like: tell by which factor a cloud was scaled; rebuild a region that was squeezed onto a plane."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.geometry.chamfer import chamfer_distance, pointwise_distance
from smdsb_jax.geometry.regions import least_points, squeeze_region
from smdsb_jax.layers.heads import ClassificationHead, PointwiseHead
from smdsb_jax.network import Passes, Train, run_own
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables
from smdsb_jax.tasks import cross_entropy

DISTANCES = {"chamfer": chamfer_distance, "pointwise": pointwise_distance}
FACTOR = 20.0  # of the distance, DefRec's: the weights of the two losses are comparable with it


class Scaled(NamedTuple):
    """Scaled clouds, and by which of the factors."""

    points: Float[Array, "batch n 3"]
    label: Int[Array, " batch"]


class Squeezed(NamedTuple):
    """Clouds, the same with a region squeezed flat, and where that is."""

    points: Float[Array, "batch n 3"]
    flat: Float[Array, "batch n 3"]
    mask: Bool[Array, "batch n"]


class Prepared(NamedTuple):
    """The two views; None where a task is left out."""

    scaled: Scaled | None
    squeezed: Squeezed | None


def glrv(
    *,
    scale_weight: float = 0.2,
    projection_weight: float = 0.2,
    scale_values: tuple[float, ...] = (0.5, 2**-0.5, 1.0, 2**0.5, 2.0),
    scale_jitter: float = 0.0,
    region_share: float = 128 / 1024,
    distance: str = "chamfer",
    dropout: float = 0.5,
) -> Pretext:
    """GLRV-like tasks, one of the whole cloud and one of a part   [Fan et al., CVPR 2022].

    A reconstruction from the abstract (doi:10.1109/CVPR52688.2022.00627), which names the two tasks and no
    number or formula: neither the text nor code was at hand. All below is ours, in DefRec's framework.

    `scale` = w_s CE(which factor), of the augmented cloud times one of the factors, drawn for each cloud; a
    hidden layer of a quarter of the embedding's width. From a pass of its own `projection` = w_p 20 d(cloud,
    rebuilt), d over the m points nearest to a random one, which the encoder sees as x - ((x - g) . u) u, with
    their mean g and u uniform on the sphere; DefRec's head. `solved` tells of the scale alone. Clouds of the
    same radius show their factor by their extent: if that is learned at once, `scale_jitter` makes it harder.

    Args:
      scale_weight: w_s; 0 leaves the pass out.
      projection_weight: w_p; 0 leaves the pass out.
      scale_values: the factors, symmetric up and down by default.
      scale_jitter: j of a further factor U(1 - j, 1 + j) of which the label does not tell; 0: none.
      region_share: m as a share of the points; 128 of 1,024.
      distance: `chamfer`, the masked one of DefRec; or `pointwise`, the mean squared distance of each point
        from where it was, which is stricter.
      dropout: in both heads.

    Raises:
      ValueError: an option out of its range, or both weights 0.
    """
    check_range("pretext.scale_weight", scale_weight, 0, 1e6)
    check_range("pretext.projection_weight", projection_weight, 0, 1e6)
    check_range("pretext.scale_jitter", scale_jitter, 0, 0.9)
    check_range("pretext.region_share", region_share, 0, 1)
    check_range("pretext.dropout", dropout, 0, 0.99)
    if scale_weight == projection_weight == 0:
        raise ValueError(
            "config.pretext.scale_weight = config.pretext.projection_weight = 0: no task is left. Raise one, "
            "or choose the pretext task none."
        )
    if len(set(scale_values)) < max(len(scale_values), 2) or min(scale_values) <= 0:
        raise ValueError(f"config.pretext.scale_values = {scale_values}: two or more, above 0, no two alike.")
    if distance not in DISTANCES:
        raise ValueError(f"config.pretext.distance = {distance!r}: one of {', '.join(map(repr, DISTANCES))}.")
    names = tuple(n for n, w in (("scale", scale_weight), ("projection", projection_weight)) if w)

    def head_of(name: str, features: Features) -> nn.Module:
        if name == "projection":
            return PointwiseHead(dropout=dropout)
        hidden = (features.embedding.shape[-1] // 4,)  # 256 after an embedding of 1024
        return ClassificationHead(len(scale_values), hidden, hidden_bias=(True,), dropout=dropout)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        own = {name: head_of(name, features).lazy_init(k, features, train=False) for name, k in keys.items()}
        return {kind: {name: own[name][kind] for name in own} for kind in ("params", "batch_stats")}, ()

    def scale(key: jax.Array, points: Float[Array, "batch n 3"]) -> Scaled:
        label_key, jitter_key = jax.random.split(key)
        label = jax.random.randint(label_key, points.shape[:1], 0, len(scale_values))
        jitter = jax.random.uniform(jitter_key, label.shape, points.dtype, -scale_jitter, scale_jitter)
        factor = (1 + jitter) * jnp.asarray(scale_values, points.dtype)[label]
        return Scaled(factor[:, None, None] * points, label)

    def prepare(view: View, key: jax.Array) -> Prepared:
        scale_key, region_key = jax.random.split(key)
        points, keys = view.points, jax.random.split(region_key, view.points.shape[0])
        count = least_points(region_share, points.shape[1])
        squeeze = jax.vmap(lambda k, p: squeeze_region(k, p, count))
        return Prepared(
            scale(scale_key, points) if scale_weight else None,
            Squeezed(points, *squeeze(keys, points)) if projection_weight else None,
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
        keys = jax.random.split(key, 4)
        losses, solved = {}, {}
        if scaled := prepared.scaled:
            features, variables = passes.encode(variables, scaled.points, keys[0], train=train)
            head = head_of("scale", features)
            logits, variables = run_own(head, variables, "scale", features, train=train, key=keys[1])
            losses["scale"] = scale_weight * cross_entropy(logits, scaled.label)
            solved["scale"] = (jnp.argmax(logits, axis=-1) == scaled.label).astype(logits.dtype)
        if squeezed := prepared.squeezed:
            features, variables = passes.encode(variables, squeezed.flat, keys[2], train=train)
            head = head_of("projection", features)
            rebuilt, variables = run_own(head, variables, "projection", features, train=train, key=keys[3])
            found = jax.vmap(DISTANCES[distance])(squeezed.points, rebuilt, squeezed.mask)
            losses["projection"] = projection_weight * FACTOR * found
        return Losses(losses, variables, solved)

    return Pretext(init, prepare, loss, names)
