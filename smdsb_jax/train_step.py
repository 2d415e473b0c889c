"""One update of SM-DSB, the same in both stages: the paper on one screen."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from smdsb_jax import augment
from smdsb_jax.combine import Combine
from smdsb_jax.network import Network, classify, cross_entropy, encode, loss_of_one
from smdsb_jax.pretext import Pretext, View
from smdsb_jax.saliency import measure_per_sample, measure_shared
from smdsb_jax.selection import Selection, gather_kept, kept_count, masked_mean, select
from smdsb_jax.state import Batch, Clouds, Sample, TrainState, Tree, Variables

Metrics = dict[str, Array]


class Augment(NamedTuple):
    """How training clouds are seen; the fields of `config.augment`, `data.points` and `data.subsample`."""

    points: int
    subsample: str
    rotate: str
    jitter_std: float
    jitter_clip: float
    rotate_target: bool = True
    elastic: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    occlusion: float = 0.0


class Parts(NamedTuple):
    """The functions and constants that the configuration chose; bound to the step before it is jitted."""

    network: Network
    pretext: Pretext
    selection: Selection | None  # None: every sample takes part in the pretext task
    combine: Combine
    optimizer: optax.GradientTransformation
    augment: Augment
    class_weight: float
    label_weights: str  # per_sample or batch_mean: how the labels' weights act
    pretext_weight: float
    pretext_on_source: bool
    mixup_alpha: float  # of PCM; 0: none
    saliency_mode: str
    saliency_alpha: float
    steps: int  # of the stage, for ramps


class Passed(NamedTuple):
    """What the classification pass of one domain leaves for the Measurer."""

    loss: Float[Array, " batch"]
    logits: Float[Array, "batch classes"]
    embedding: Float[Array, "batch d"]


def train_step(parts: Parts, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """Classify, measure the saliency, select, run the pretext task on the kept samples, update.

    Each pass normalizes by its own BatchNorm statistics, in this order: class source, class target
    (stage 2: where `batch.target` has labels), pretext source, pretext target.
    """
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 6)
    seen = look(parts.augment, keys[0], batch)
    params, batch_stats = state.variables["params"], state.variables["batch_stats"]
    points = (seen.source.points, None if seen.target.label is None else seen.target.points)

    shared = parts.selection is not None and parts.saliency_mode == "shared"
    class_pass = jax.value_and_grad(class_loss, argnums=(2, 4) if shared else 2, has_aux=True)
    (loss, (passed, batch_stats)), grads = class_pass(parts, keys[1], params, batch_stats, points, seen)
    grads, point_grads = grads if shared else (grads, None)

    keep_source = keep_target = jnp.ones(points[0].shape[0], bool)
    metrics: Metrics = {}
    if parts.selection is not None:
        samples = measure(parts, state.variables, keys[2], seen, passed, point_grads)
        keep_source, keep_target, record = select(parts.selection, *samples, len(keep_target), keys[3])
        metrics |= {f"selection/{name}": value for name, value in record.items()}

    pretext_pass = jax.value_and_grad(pretext_loss, argnums=2, has_aux=True)
    (pretext, (named, batch_stats)), pretext_grads = pretext_pass(
        parts, keys[4], params, batch_stats, state, batch, seen, (keep_source, keep_target)
    )

    encoder_grads, combine = parts.combine.update(
        keys[5], (grads["encoder"], pretext_grads["encoder"]), jnp.stack([loss, pretext]), state.combine
    )
    merged = jax.tree.map(jnp.add, grads, pretext_grads) | {"encoder": encoder_grads}
    updates, opt_state = parts.optimizer.update(merged, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), "batch_stats": batch_stats}
    metrics |= {"loss/class": loss, "loss/pretext": pretext, **named}
    metrics["update/norm"] = optax.tree.norm(updates)  # not finite where a gradient is not, whatever the loss
    metrics |= {
        "selection/kept_source": jnp.mean(keep_source),
        "selection/kept_target": jnp.mean(keep_target),
    }
    return state.replace(
        step=state.step + 1,
        variables=variables,
        opt_state=opt_state,
        pretext=parts.pretext.update(state.pretext, variables),
        combine=combine,
    ), metrics


def look(how: Augment, key: jax.Array, batch: Batch) -> Batch:
    """The mini-batch as the network sees it: cut, sub-sampled, rotated, distorted, scaled, jittered.

    Only source clouds lose a half-space: scans, the usual target, are occluded as they are.
    """

    def one(axis: str, occlusion: float, key: jax.Array, cloud: Array) -> Float[Array, "n 3"]:
        keys = jax.random.split(key, 3)  # of what every host does; what some do has keys of its own
        cut_key, distort_key, scale_key = jax.random.split(jax.random.fold_in(key, 3), 3)
        cloud = augment.remove_half_space(cut_key, cloud, occlusion, how.points)
        points = augment.subsample(keys[0], cloud, how.points, how.subsample)
        points = augment.rotate(keys[1], points, axis)
        points = augment.distort_elastically(distort_key, points, how.elastic)
        points = augment.scale(scale_key, points, *how.scale)
        return augment.jitter(keys[2], points, how.jitter_std, how.jitter_clip)

    def half(key: jax.Array, clouds: Clouds, axis: str, occlusion: float) -> Clouds:
        keys = jax.random.split(key, clouds.points.shape[0])
        return clouds._replace(points=jax.vmap(functools.partial(one, axis, occlusion))(keys, clouds.points))

    source_key, target_key = jax.random.split(key)
    return Batch(
        half(source_key, batch.source, how.rotate, how.occlusion),
        half(target_key, batch.target, how.rotate if how.rotate_target else "none", 0.0),
    )


def weights(parts: Parts, clouds: Clouds) -> Float[Array, " batch"]:
    """Of each cloud's classification loss: its label's own, or their mean over the batch for all."""
    if clouds.weight is None:
        return jnp.ones(clouds.points.shape[0], clouds.points.dtype)
    if parts.label_weights == "batch_mean":
        return jnp.full_like(clouds.weight, jnp.mean(clouds.weight))
    return clouds.weight


def class_loss(
    parts: Parts,
    key: jax.Array,
    params: Tree,
    batch_stats: Tree,
    points: tuple[Float[Array, "batch n 3"], Float[Array, "batch n 3"] | None],
    seen: Batch,
) -> tuple[Float[Array, ""], tuple[list[Passed], Tree]]:
    """Weighted cross-entropy of the source and, where it has labels, of the target, each in its own pass.

    `points` stands apart from `seen` because the shared saliency differentiates with respect to it.
    """
    mix_key, *pass_keys = jax.random.split(key, 3)
    variables = {"params": params, "batch_stats": batch_stats}
    total, passed = jnp.zeros((), points[0].dtype), []
    for clouds, domain_points, pass_key in zip(seen, points, pass_keys, strict=True):
        if domain_points is None or clouds.label is None:
            continue
        mixed = parts.mixup_alpha > 0 and clouds is seen.source
        if mixed:
            domain_points, partner, share = augment.point_cloud_mixup(
                mix_key, domain_points, parts.mixup_alpha
            )
        logits, features, variables = classify(parts.network, variables, domain_points, pass_key, train=True)
        loss = cross_entropy(logits, clouds.label)
        if mixed:
            loss = share * loss + (1 - share) * cross_entropy(logits, clouds.label[partner])
        # divided by the batch, not by the sum of the weights: few confident labels weigh little
        total += jnp.mean(weights(parts, clouds) * loss)
        passed.append(Passed(loss, logits, features.embedding))
    return parts.class_weight * total, (passed, variables["batch_stats"])


def measure(
    parts: Parts,
    variables: Variables,
    key: jax.Array,
    seen: Batch,
    passed: list[Passed],
    point_grads: tuple[Float[Array, "batch n 3"], Float[Array, "batch n 3"] | None] | None,
) -> tuple[Sample, Sample | None]:
    """What the statistic scores: the saliency of each clean cloud under its own label, and the rest of it."""
    loss = functools.partial(loss_of_one, parts.network, variables)
    samples: list[Sample | None] = []
    for index, (clouds, half_key) in enumerate(zip(seen, jax.random.split(key), strict=True)):
        if clouds.label is None:
            samples.append(None)
            continue
        batch = clouds.points.shape[0]
        keys = jax.random.split(half_key, batch)
        if point_grads is None:
            samples.append(measure_per_sample(loss, clouds.points, clouds.label, parts.saliency_alpha, keys))
            continue
        # From the gradient of the weighted mean back to that of each cloud's own loss. A cloud of weight 0
        # has none: what reaches its points through BatchNorm is of the others' losses. NaN ranks it last.
        weight = weights(parts, clouds)
        scale = jnp.where(weight > 0, batch / (parts.class_weight * weight), jnp.nan)
        gradient = scale[:, None, None] * point_grads[index]  # type: ignore[index]
        of = passed[index]
        samples.append(
            measure_shared(
                clouds.points,
                clouds.label,
                gradient,
                of.embedding,
                of.logits,
                of.loss,
                parts.saliency_alpha,
                keys,
            )
        )
    return samples[0], samples[1]  # type: ignore[return-value]


def pretext_loss(
    parts: Parts,
    key: jax.Array,
    params: Tree,
    batch_stats: Tree,
    state: TrainState,
    stored: Batch,
    seen: Batch,
    keep: tuple[Array, Array],
) -> tuple[Float[Array, ""], tuple[Metrics, Tree]]:
    """The weighted pretext loss of the kept samples, source then target, each normalized by its own batch."""
    variables = {"params": params, "batch_stats": batch_stats}
    encoder = functools.partial(encode, parts.network)
    denominator = "batch" if parts.selection is None else parts.selection.denominator
    freezes = parts.selection is not None and parts.selection.freeze_unlabelled
    total, named = jnp.zeros((), seen.source.points.dtype), {}
    for index, (domain, domain_key) in enumerate(zip(Batch._fields, jax.random.split(key), strict=True)):
        if domain == "source" and not parts.pretext_on_source:
            continue
        mask, batch = keep[index], keep[index].shape[0]
        view = View(
            seen[index].points, stored[index].points, seen[index].label, domain, state.step / parts.steps
        )
        selected = domain == "source" or seen[index].label is not None or freezes
        if selected and parts.selection is not None and parts.selection.execution == "gather":
            count = kept_count(parts.selection.keep_ratio, batch)
            take = gather_kept(mask, count)
            view = view._replace(
                points=take(view.points),
                stored=take(view.stored),
                label=None if view.label is None else take(view.label),
            )
            mask = jnp.ones(count, bool)
        prepared = parts.pretext.prepare(view, domain_key)
        losses, variables = parts.pretext.loss(encoder, variables, state.pretext, prepared, domain_key)
        for name, loss in losses.items():
            # in gather mode the rows are fewer than the batch that `denominator = "batch"` divides by
            share = mask.shape[0] / batch if denominator == "batch" else 1.0
            value = share * masked_mean(loss, mask, denominator)
            named[f"pretext/{domain}/{name}"] = value
            total += value
    return parts.pretext_weight * total, (named, variables["batch_stats"])
