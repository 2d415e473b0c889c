"""One update of SM-DSB, the same in both stages: the paper on one screen."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from smdsb_jax.accumulate import OfPart, over_parts, rows_of_parts
from smdsb_jax.augment import augment_batch, point_cloud_mixup
from smdsb_jax.combine import Told, metrics_of
from smdsb_jax.network import loss_of_one, per_sample_mean, predict
from smdsb_jax.parts import Parts
from smdsb_jax.pretext_pass import Rows, add_pretext_losses, prepare_batch, pretext_losses
from smdsb_jax.saliency import measure_per_sample, measure_shared
from smdsb_jax.selection import select
from smdsb_jax.state import Batch, Clouds, Pair, TrainState, Tree, Variables

Metrics = dict[str, Array]


class Passed(NamedTuple):
    """What the classification pass of one domain leaves for the Measurer."""

    loss: Float[Array, " batch"]
    logits: Float[Array, "batch *points classes"]
    embedding: Float[Array, "batch d"]


class Found(NamedTuple):
    """What a step knows before the tasks' gradients are merged."""

    gradients: list[Tree]  # of all parameters, one for each task
    told: Told
    batch_stats: Tree  # after all passes
    metrics: Metrics


def step_keys(state: TrainState) -> jax.Array:
    """Of augmentation, class passes, statistic, noise of scores, pretext task and rule of the next step."""
    return jax.random.split(jax.random.fold_in(state.key, state.step), 6)


def task_gradients(
    parts: Parts, keys: jax.Array, state: TrainState, batch: Batch, scores: Pair | None = None
) -> Found:
    """All of a step but the update: what each task's gradient is, and of which samples.

    Each pass normalizes by its own BatchNorm statistics, in this order: class source, class target
    (stage 2: where `batch.target` has labels), pretext source, pretext target, pretext joint. `scores` take
    the place of the statistic's, as those of `run.bounds`.

    With `accumulate` parts the class passes are of one part of the mini-batch after the other, then the
    pretext passes; selection and denominators are those of the whole. The gradients are too, but that
    BatchNorm, dropout, mixup and memories are of a part, whose passes follow those of the part before.
    """
    augmented = weigh_labels(parts, augment_batch(parts.augment, keys[0], batch))
    params, batch_stats = state.variables["params"], state.variables["batch_stats"]
    points = Pair(
        augmented.source.points, None if augmented.target.label is None else augmented.target.points
    )

    shared = parts.selection is not None and parts.saliency_mode == "shared"

    def class_pass(key: jax.Array, batch_stats: Tree, rows: tuple[Pair, Batch]) -> OfPart:
        points, clouds = rows

        def share(params: Tree, points: Pair) -> tuple[Array, Tree]:  # of the mean over the mini-batch
            loss, left = class_loss(parts, key, params, batch_stats, points, clouds)
            return loss / parts.accumulate, left

        differentiate = jax.value_and_grad(share, argnums=(0, 1) if shared else 0, has_aux=True)
        (loss, (passed, batch_stats)), grads = differentiate(params, points)
        grads, point_grads = grads if shared else (grads, None)
        return OfPart((loss, grads), (passed, point_grads), batch_stats)

    (loss, grads), (passed, point_grads), batch_stats = over_parts(
        parts.accumulate, class_pass, keys[1], batch_stats, (points, augmented)
    )

    all_kept = jnp.ones(batch.source.points.shape[0], bool)
    keep, metrics = Pair(all_kept, all_kept), {}
    if parts.selection is not None:
        samples = measure(parts, state.variables, keys[2], augmented, passed, point_grads)
        if parts.selection.needs_pretext:
            samples = add_pretext_losses(parts, keys[4], state, batch, augmented, samples)
        keep, record = select(parts.selection, samples, len(all_kept), keys[3], scores)
        metrics |= {f"selection/{name}": value for name, value in record.items()}

    whole = prepare_batch(parts, keys[4], state=state, stored=batch, augmented=augmented, keep=keep)

    def pretext_pass(keys: Tree, batch_stats: Tree, rows: Rows) -> OfPart:
        of_rows = functools.partial(
            pretext_losses, parts, keys, batch_stats=batch_stats, state=state, rows=rows,
            divisors=whole.divisors,
        )  # fmt: skip
        losses, pull_back, record = jax.vjp(of_rows, params, has_aux=True)
        grads = [pull_back(only)[0] for only in one_at_a_time(losses)]
        return OfPart((losses, grads, record.named), record.solved, record.batch_stats)

    (losses, pretext_grads, named), solved, batch_stats = over_parts(
        parts.accumulate, pretext_pass, whole.keys, batch_stats, whole.rows
    )

    told = Told(
        parts.tasks, jnp.stack([loss, *losses]), told_solved(parts, augmented, passed, solved),
        state.step / parts.steps,
    )  # fmt: skip
    metrics |= {"loss/class": loss, "loss/pretext": sum(losses, jnp.zeros_like(loss)), **named}
    metrics |= {f"selection/kept_{name}": jnp.mean(mask) for name, mask in keep._asdict().items()}
    return Found([grads, *pretext_grads], told, batch_stats, metrics)


def train_step(
    parts: Parts, state: TrainState, batch: Batch, scores: Pair | None = None
) -> tuple[TrainState, Metrics]:
    """Classify, measure the saliency, select, run the pretext task on the kept samples, update."""
    keys = step_keys(state)
    of_tasks, told, batch_stats, metrics = task_gradients(parts, keys, state, batch, scores)
    params = state.variables["params"]
    encoders = tuple(g["encoder"] for g in of_tasks)
    with jax.named_scope("combine"):
        merged = parts.combine.update(keys[5], encoders, told, state.combine)
        grads = add_weighed(of_tasks, merged.head_weights) | {"encoder": merged.encoder}
    with jax.named_scope("optimizer"):
        updates, opt_state = parts.optimizer.update(grads, state.opt_state, params)
        variables = {"params": optax.apply_updates(params, updates), "batch_stats": batch_stats}
    if parts.pretext.names:
        metrics |= {f"combine/{name}": value for name, value in metrics_of(encoders, told, merged).items()}
    metrics["update/norm"] = optax.tree.norm(updates)  # not finite where a gradient is not, whatever the loss
    return state.replace(
        step=state.step + 1,
        variables=variables,
        opt_state=opt_state,
        pretext=parts.pretext.update(state.pretext, variables),
        combine=merged.state,
    ), metrics


def weigh_labels(parts: Parts, batch: Batch) -> Batch:
    """The mini-batch with what each label weighs: its own weight, or the mini-batch's mean for all."""
    weight = batch.target.weight
    if weight is None or parts.label_weights != "batch_mean":
        return batch
    return batch._replace(target=batch.target._replace(weight=jnp.full_like(weight, jnp.mean(weight))))


def weights(clouds: Clouds) -> Float[Array, "batch *points"]:
    """Of each label's loss; 1 where nothing is said."""
    if clouds.weight is not None:
        return clouds.weight
    shape = clouds.points.shape[:1] if clouds.label is None else clouds.label.shape
    return jnp.ones(shape, clouds.points.dtype)


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
            mixed = point_cloud_mixup(mix_key, domain_points, parts.mixup_alpha)
            domain_points = mixed.points
        with jax.named_scope(f"class_{domain}"):
            output, features, variables = predict(
                parts.network, variables, domain_points, pass_key, train=True
            )
            loss = (
                task.loss(output, clouds.label)
                if mixed is None
                else task.mixed_loss(output, clouds.label, mixed)
            )
        # divided by the batch, not by the sum of the weights: few confident labels weigh little
        total += jnp.mean(weights(clouds) * loss)
        own = Passed(per_sample_mean(loss), task.logits(output), features.embedding)
        passed = passed._replace(**{domain: own})
    return parts.class_weight * total, (passed, variables["batch_stats"])


@jax.named_scope("saliency")
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
            alone = lambda points, label, keys: measure_per_sample(  # noqa: E731
                loss, points, label, parts.saliency_alpha, keys
            )
            return rows_of_parts(parts.accumulate, alone, clouds.points, clouds.label, keys)
        # From the gradient of the weighted mean back to that of each cloud's own loss. A cloud of weight 0
        # has none: what reaches its points through BatchNorm is of the others' losses. NaN ranks it last.
        weight = per_sample_mean(weights(clouds))
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


def one_at_a_time(losses: list[Float[Array, ""]]) -> list[list[Float[Array, ""]]]:
    """Cotangents that give the gradient of each loss by itself, from one forward pass."""
    kinds = (jnp.zeros_like, jnp.ones_like)
    return [[kinds[i == chosen](loss) for i, loss in enumerate(losses)] for chosen in range(len(losses))]


def told_solved(
    parts: Parts, augmented: Batch, passed: Pair, solved: dict[str, list[Array]]
) -> Float[Array, " tasks"]:
    """The share of each task's samples that are solved: of the class the accuracy; NaN where none is told."""
    shares = {task: jnp.mean(jnp.stack([jnp.mean(of) for of in domains])) for task, domains in solved.items()}
    right = jnp.argmax(passed.source.logits, axis=-1) == augmented.source.label
    known = {"class": jnp.mean(right.astype(passed.source.loss.dtype)), **shares}
    return jnp.stack([known.get(task, jnp.full_like(known["class"], jnp.nan)) for task in parts.tasks])


def add_weighed(gradients: list[Tree], weight: Float[Array, " tasks"] | None) -> Tree:
    """The sum of the tasks' gradients, each times its weight."""
    if weight is not None:
        gradients = [
            jax.tree.map(functools.partial(jnp.multiply, w), g)
            for w, g in zip(weight, gradients, strict=True)
        ]
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *gradients)
