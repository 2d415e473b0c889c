"""One update of SM-DSB, the same in both stages: the paper on one screen."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from smdsb_jax import augment
from smdsb_jax.combine import Told, task_of
from smdsb_jax.network import loss_of_one, passes_of, per_sample_mean, predict
from smdsb_jax.parts import Augment, Parts
from smdsb_jax.pretext import build_view, prepare
from smdsb_jax.saliency import measure_per_sample, measure_shared
from smdsb_jax.selection import Selection, kept_count, kept_rows, masked_mean, select
from smdsb_jax.state import Batch, Clouds, Pair, TrainState, Tree, Variables

Metrics = dict[str, Array]


class Passed(NamedTuple):
    """What the classification pass of one domain leaves for the Measurer."""

    loss: Float[Array, " batch"]
    logits: Float[Array, "batch *points classes"]
    embedding: Float[Array, "batch d"]


class PretextRecord(NamedTuple):
    """What the pretext passes leave beside their losses."""

    named: Metrics
    solved: dict[str, Array]  # task → share of its samples that are solved
    batch_stats: Tree


def train_step(parts: Parts, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """Classify, measure the saliency, select, run the pretext task on the kept samples, update.

    Each pass normalizes by its own BatchNorm statistics, in this order: class source, class target
    (stage 2: where `batch.target` has labels), pretext source, pretext target, pretext joint.
    """
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 6)
    augmented = augment_batch(parts.augment, keys[0], batch)
    params, batch_stats = state.variables["params"], state.variables["batch_stats"]
    points = Pair(
        augmented.source.points, None if augmented.target.label is None else augmented.target.points
    )

    shared = parts.selection is not None and parts.saliency_mode == "shared"
    class_pass = jax.value_and_grad(class_loss, argnums=(2, 4) if shared else 2, has_aux=True)
    (loss, (passed, batch_stats)), grads = class_pass(parts, keys[1], params, batch_stats, points, augmented)
    grads, point_grads = grads if shared else (grads, None)

    all_kept = jnp.ones(batch.source.points.shape[0], bool)
    keep, metrics = Pair(all_kept, all_kept), {}
    if parts.selection is not None:
        samples = measure(parts, state.variables, keys[2], augmented, passed, point_grads)
        keep, record = select(parts.selection, samples, len(all_kept), keys[3])
        metrics |= {f"selection/{name}": value for name, value in record.items()}

    pretext = functools.partial(
        pretext_losses, parts, keys[4], batch_stats=batch_stats, state=state, stored=batch,
        augmented=augmented, keep=keep,
    )  # fmt: skip
    losses, pull_back, record = jax.vjp(pretext, params, has_aux=True)
    pretext_grads = [pull_back(only)[0] for only in one_at_a_time(losses)]

    told = Told(
        parts.tasks, jnp.stack([loss, *losses]), told_solved(parts, augmented, passed, record.solved),
        state.step / parts.steps,
    )  # fmt: skip
    of_tasks = [grads, *pretext_grads]
    merged = parts.combine.update(keys[5], tuple(g["encoder"] for g in of_tasks), told, state.combine)
    grads = add_weighed(of_tasks, merged.head_weights) | {"encoder": merged.encoder}
    updates, opt_state = parts.optimizer.update(grads, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), "batch_stats": record.batch_stats}
    metrics |= {"loss/class": loss, "loss/pretext": sum(losses, jnp.zeros_like(loss)), **record.named}
    metrics |= {f"combine/{name}": value for name, value in (merged.metrics or {}).items()}
    metrics["update/norm"] = optax.tree.norm(updates)  # not finite where a gradient is not, whatever the loss
    metrics |= {f"selection/kept_{name}": jnp.mean(mask) for name, mask in keep._asdict().items()}
    return state.replace(
        step=state.step + 1,
        variables=variables,
        opt_state=opt_state,
        pretext=parts.pretext.update(state.pretext, variables),
        combine=merged.state,
    ), metrics


def augment_batch(how: Augment, key: jax.Array, batch: Batch) -> Batch:
    """The mini-batch as the network gets it: cut, sub-sampled, rotated, distorted, scaled, jittered.

    Only source clouds lose a half-space: scans, the usual target, are occluded as they are.
    """

    def one(axis: str, occlusion: float, key: jax.Array, cloud: Array) -> augment.Taken:
        keys = jax.random.split(key, 3)  # of what every host does; what some do has keys of its own
        cut_key, distort_key, scale_key = jax.random.split(jax.random.fold_in(key, 3), 3)
        cut = augment.remove_half_space(cut_key, cloud, occlusion, how.points)
        points, rows = augment.subsample(keys[0], cut.points, how.points, how.subsample)
        points = augment.rotate(keys[1], points, axis)
        points = augment.distort_elastically(distort_key, points, how.elastic)
        points = augment.scale(scale_key, points, *how.scale)
        points = augment.jitter(keys[2], points, how.jitter_std, how.jitter_clip)
        return augment.Taken(points, cut.rows[rows])

    def half(key: jax.Array, clouds: Clouds, axis: str, occlusion: float) -> Clouds:
        keys = jax.random.split(key, clouds.points.shape[0])
        points, rows = jax.vmap(functools.partial(one, axis, occlusion))(keys, clouds.points)
        return Clouds(points, augment.follow(clouds.label, rows), augment.follow(clouds.weight, rows))

    source_key, target_key = jax.random.split(key)
    return Batch(
        half(source_key, batch.source, how.rotate, how.occlusion),
        half(target_key, batch.target, how.rotate if how.rotate_target else "none", 0.0),
    )


def weights(parts: Parts, clouds: Clouds) -> Float[Array, "batch *points"]:
    """Of each label's loss: its own, or their mean over the batch for all."""
    if clouds.weight is None:
        return jnp.ones(clouds.points.shape[0], clouds.points.dtype)
    if parts.label_weights == "batch_mean":
        return jnp.full_like(clouds.weight, jnp.mean(clouds.weight))
    return clouds.weight


def class_loss(
    parts: Parts, key: jax.Array, params: Tree, batch_stats: Tree, points: Pair, augmented: Batch
) -> tuple[Float[Array, ""], tuple[Pair, Tree]]:
    """Weighted loss of the source and, where it has labels, of the target, each in its own pass.

    `points` stands apart from `augmented` because the shared saliency differentiates with respect to it.
    """
    mix_key, *pass_keys = jax.random.split(key, 3)
    variables, task = {"params": params, "batch_stats": batch_stats}, parts.network.task
    total, passed = jnp.zeros((), points.source.dtype), Pair(None, None)
    for domain, pass_key in zip(Batch._fields, pass_keys, strict=True):
        clouds, domain_points = getattr(augmented, domain), getattr(points, domain)
        if domain_points is None or clouds.label is None:
            continue
        mixed = None
        if parts.mixup_alpha > 0 and domain == "source":
            mixed = augment.point_cloud_mixup(mix_key, domain_points, parts.mixup_alpha)
            domain_points = mixed.points
        output, features, variables = predict(parts.network, variables, domain_points, pass_key, train=True)
        loss = (
            task.loss(output, clouds.label) if mixed is None else task.mixed_loss(output, clouds.label, mixed)
        )
        # divided by the batch, not by the sum of the weights: few confident labels weigh little
        total += jnp.mean(weights(parts, clouds) * loss)
        own = Passed(per_sample_mean(loss), task.logits(output), features.embedding)
        passed = passed._replace(**{domain: own})
    return parts.class_weight * total, (passed, variables["batch_stats"])


def measure(
    parts: Parts,
    variables: Variables,
    key: jax.Array,
    augmented: Batch,
    passed: Pair,
    point_grads: Pair | None,
) -> Pair:
    """What the statistic scores: the saliency of each clean cloud under its own label, and the rest of it.

    The target's is None where it has no labels.
    """
    loss = functools.partial(loss_of_one, parts.network, variables)

    def of_domain(domain: str, key: jax.Array) -> Tree:
        clouds = getattr(augmented, domain)
        if clouds.label is None:
            return None
        batch = clouds.points.shape[0]
        keys = jax.random.split(key, batch)
        if point_grads is None:
            return measure_per_sample(loss, clouds.points, clouds.label, parts.saliency_alpha, keys)
        # From the gradient of the weighted mean back to that of each cloud's own loss. A cloud of weight 0
        # has none: what reaches its points through BatchNorm is of the others' losses. NaN ranks it last.
        weight = weights(parts, clouds)
        scale = jnp.where(weight > 0, batch / (parts.class_weight * weight), jnp.nan)
        gradient = scale[:, None, None] * getattr(point_grads, domain)
        of = getattr(passed, domain)
        return measure_shared(
            clouds.points,
            clouds.label,
            gradient,
            of.embedding,
            of.logits,
            of.loss,
            parts.saliency_alpha,
            keys,
        )

    return Pair(*map(of_domain, Batch._fields, jax.random.split(key)))


def pretext_losses(
    parts: Parts,
    key: jax.Array,
    params: Tree,
    *,
    batch_stats: Tree,
    state: TrainState,
    stored: Batch,
    augmented: Batch,
    keep: Pair,
) -> tuple[list[Float[Array, ""]], PretextRecord]:
    """The weighted pretext losses of the kept samples, one for each task of the rule but the first.

    Source, then target, each normalized by its own batch, then both together.
    """
    task, passes = parts.pretext, passes_of(parts.network)
    variables, prepared = {"params": params, "batch_stats": batch_stats}, Pair(None, None)
    totals = {name: jnp.zeros((), augmented.source.points.dtype) for name in parts.tasks[1:]}
    named: Metrics = {}
    solved: dict[str, list[Array]] = {}
    for domain, domain_key in zip(Batch._fields, jax.random.split(key), strict=True):
        if not task.names or (domain == "source" and not parts.pretext_on_source):
            continue
        clouds, before, mask, batch = pretext_rows(parts.selection, augmented, stored, keep, domain)
        view = build_view(clouds, before, domain, state.step / parts.steps)
        own, loss_key = prepare(task, view, domain_key)
        prepared, keep = prepared._replace(**{domain: own}), keep._replace(**{domain: mask})
        if task.loss is None:
            continue
        found = task.loss(passes, variables, state.pretext, own, loss_key)
        variables = found.variables
        for name, loss in found.per_sample.items():
            value = mean_of_kept(parts.selection, loss, mask, batch)
            named[f"pretext/{domain}/{name}"] = value
            totals[task_of(parts.combine_split, domain, name)] += value
        for name, values in (found.solved or {}).items():
            solved.setdefault(task_of(parts.combine_split, domain, name), []).append(jnp.mean(values))
    if task.joint is not None:
        joint_key = jax.random.fold_in(key, 2)
        joint, variables = task.joint(passes, variables, state.pretext, prepared, keep, joint_key)
        for name, value in joint.items():
            named[f"pretext/joint/{name}"] = value
            totals[task_of(parts.combine_split, "joint", name)] += value
    shares = {name: jnp.mean(jnp.stack(values)) for name, values in solved.items()}
    weighed = [parts.pretext_weight * total for total in totals.values()]
    return weighed, PretextRecord(named, shares, variables["batch_stats"])


def pretext_rows(
    selection: Selection | None, augmented: Batch, stored: Batch, keep: Pair, domain: str
) -> tuple[Clouds, Clouds, Bool[Array, " rows"], int]:
    """A domain's clouds for the pretext task, augmented and stored, their mask, and the batch they are of.

    All of them, or with `execution = "gather"` the kept ones alone.
    """
    clouds, before, mask = (getattr(of, domain) for of in (augmented, stored, keep))
    batch = mask.shape[0]
    if selection is None or selection.execution != "gather":
        return clouds, before, mask, batch
    if domain == "target" and clouds.label is None and not selection.freeze_unlabelled:
        return clouds, before, mask, batch  # all are kept
    rows = kept_rows(mask, kept_count(selection.keep_ratio, batch))
    clouds, before = jax.tree.map(lambda array: array[rows], (clouds, before))
    return clouds, before, jnp.ones(len(rows), bool), batch


def mean_of_kept(
    selection: Selection | None, loss: Float[Array, " rows"], mask: Bool[Array, " rows"], batch: int
) -> Float[Array, ""]:
    """The mean loss of the kept samples by the selection's denominator, of which the rows may be a part."""
    denominator = "batch" if selection is None else selection.denominator
    share = mask.shape[0] / batch if denominator == "batch" else 1.0
    return share * masked_mean(loss, mask, denominator)


def one_at_a_time(losses: list[Float[Array, ""]]) -> list[list[Float[Array, ""]]]:
    """Cotangents that give the gradient of each loss by itself, from one forward pass."""
    kinds = (jnp.zeros_like, jnp.ones_like)
    return [[kinds[i == chosen](loss) for i, loss in enumerate(losses)] for chosen in range(len(losses))]


def told_solved(
    parts: Parts, augmented: Batch, passed: Pair, solved: dict[str, Array]
) -> Float[Array, " tasks"]:
    """The share of each task's samples that are solved: of the class the accuracy; NaN where none is told."""
    right = jnp.argmax(passed.source.logits, axis=-1) == augmented.source.label
    known = {"class": jnp.mean(right.astype(passed.source.loss.dtype)), **solved}
    return jnp.stack([known.get(task, jnp.full_like(known["class"], jnp.nan)) for task in parts.tasks])


def add_weighed(gradients: list[Tree], weight: Float[Array, " tasks"] | None) -> Tree:
    """The sum of the tasks' gradients, each times its weight."""
    if weight is not None:
        gradients = [
            jax.tree.map(functools.partial(jnp.multiply, w), g)
            for w, g in zip(weight, gradients, strict=True)
        ]
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *gradients)
