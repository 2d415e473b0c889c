"""The training step written out: what tests/test_train_step.py compares the step of the library with."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from smdsb_jax.augment import point_cloud_mixup
from smdsb_jax.combine import Told
from smdsb_jax.config import domain_batch_size
from smdsb_jax.network import loss_of_one, passes_of, predict
from smdsb_jax.pretext import PRETEXT, View, prepare
from smdsb_jax.state import Batch


def by_hand(config, parts, state, batch):
    """The step as the papers have it: one pass after the other, sums over clouds, numpy for the selection.

    Returns the losses, the variables after a descent by the gradient itself, and the kept rows.
    """
    keys = jax.random.split(
        jax.random.fold_in(state.key, state.step), 6
    )  # 1: class, 3: noise, 4: pretext, 5: rule
    params, selection = state.variables["params"], config.selection
    halves = {name: half for name, half in zip(Batch._fields, batch, strict=True) if half.label is not None}
    clouds = {
        name: half.points[:, : config.data.points] for name, half in zip(Batch._fields, batch, strict=True)
    }
    halves = {name: labels_of(half, config.data.points) for name, half in halves.items()}
    mixup = config.classification.mixup_alpha if config.classification.mixup == "pcm" else None
    labelled = {name: clouds[name] for name in halves}
    (loss, batch_stats), (of_class, of_points) = class_gradient(
        parts.network, mixup, params, labelled, state.variables, halves, keys[1]
    )
    weight = config.classification.weight
    loss, of_class, of_points = jax.tree.map(lambda leaf: weight * leaf, (loss, of_class, of_points))
    kept = {name: np.arange(domain_batch_size(config)) for name in clouds}
    if selection.statistic != "none":
        shared = of_points if config.saliency.mode == "shared" else None
        kept |= kept_by_hand(selection, scores_by_hand(parts, state, halves, clouds, shared), keys[3])
    pretext, batch_stats, of_pretext = pretext_by_hand(
        config, parts, state, batch_stats, batch, clouds, halves, kept, keys[4]
    )
    encoders = (of_class["encoder"], of_pretext["encoder"])
    told = Told(("class", "pretext"), jnp.stack([loss, pretext]), jnp.zeros(2), jnp.zeros(()))
    merged = parts.combine.update(keys[5], encoders, told, state.combine).encoder
    gradient = jax.tree.map(jnp.add, of_class, of_pretext) | {"encoder": merged}
    variables = {"params": jax.tree.map(jnp.subtract, params, gradient), "batch_stats": batch_stats}
    return (loss, pretext), variables, kept


def labels_of(half, points):
    """Labels and weights of the first points, where they are of points."""
    if half.label.ndim == 1:
        return half
    weight = None if half.weight is None else half.weight[:, :points]
    return half._replace(label=half.label[:, :points], weight=weight)


@functools.partial(jax.jit, static_argnums=(0, 1))
def class_gradient(network, mixup, params, clouds, variables, halves, key):
    """(Loss without its weight, batch statistics), gradients by parameters and points. Mixed if `mixup`."""

    def class_loss(params, clouds):
        after, total = {**variables, "params": params}, 0.0
        for name, half in halves.items():
            points, targets = clouds[name], [(1.0, half.label)]
            if mixup is not None and name == "source":
                mix_key = jax.random.split(key, 3)[0]
                points, partner, share, rows = point_cloud_mixup(mix_key, points, mixup)
                targets = [(share, half.label), (1 - share, half.label[partner])]
                if half.label.ndim > 1:  # a point keeps the label that it had in its own cloud
                    both = zip(half.label, half.label[partner], rows, strict=True)
                    targets = [(1.0, jnp.stack([jnp.concatenate([a, b])[r] for a, b, r in both]))]
            logits, _, after = predict(network, after, points, train=True)
            log_p = jax.nn.log_softmax(logits)
            size = len(points)
            weights = np.ones(half.label.shape) if half.weight is None else half.weight
            for i in range(size):
                for share, label in targets:
                    chosen = (jnp.arange(label[i].size), label[i]) if label.ndim > 1 else (label[i],)
                    total -= jnp.mean(weights[i] * share * log_p[i][chosen]) / size
        return total, after["batch_stats"]

    return jax.value_and_grad(class_loss, (0, 1), has_aux=True)(params, clouds)


def pretext_by_hand(config, parts, state, batch_stats, batch, clouds, halves, kept, key):
    """Loss, batch statistics and gradient of the source's pass and then of the target's, each by itself."""
    selection, total, gradients = config.selection, 0.0, []
    own = {k: v for k, v in config.pretext.items() if k not in ("name", "weight", "on_source")}
    task = task_of(config.pretext.name, *own.items())
    size = domain_batch_size(config)
    for name, domain_key in zip(Batch._fields, jax.random.split(key), strict=True):
        if name == "source" and not config.pretext.on_source:
            continue
        gathers = selection.execution == "gather" and name in halves
        rows = kept[name] if gathers else np.arange(size)
        half = getattr(batch, name)
        label = None if half.label is None else half.label[rows]
        of_each = config.pretext.weight / (size if selection.denominator == "batch" else len(kept[name]))
        (loss, batch_stats), gradient = pretext_gradient(
            parts.network, task, name, state.variables["params"], batch_stats,
            state.pretext, (clouds[name][rows], half.points[rows], label, state.step / parts.steps),
            jnp.where(np.isin(rows, kept[name]), of_each, 0.0), domain_key,
        )  # fmt: skip
        total += loss
        gradients.append(gradient)
    return total, batch_stats, jax.tree.map(lambda *leaves: sum(leaves), *gradients)


@functools.cache
def task_of(name, *options):
    """One object for equal options: what is compiled for it once is found again."""
    return PRETEXT[name](**dict(options))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def pretext_gradient(network, task, domain, params, batch_stats, state, seen, weights, key):
    """(Weighted sum over the clouds, batch statistics) of one pass, and its gradient by the parameters."""
    points, stored, label, progress = seen
    prepared, loss_key = prepare(task, View(points, stored, label, domain, progress), key)

    def pretext_loss(params):
        variables = {"params": params, "batch_stats": batch_stats}
        found = task.loss(passes_of(network), variables, state, prepared, loss_key)
        of_each = found.per_sample["reconstruction"]
        return sum(w * x for w, x in zip(weights, of_each, strict=True)), found.variables["batch_stats"]

    return jax.value_and_grad(pretext_loss, has_aux=True)(params)


@functools.partial(jax.jit, static_argnums=0)
def point_gradient(network, variables, points, label):
    return jax.grad(lambda p: loss_of_one(network, variables, p, label)[0])(points)


def scores_by_hand(parts, state, halves, clouds, shared):
    """scipy's skewness of each saliency map: of clean clouds one by one, or by the class pass's gradient."""
    gradient_of = functools.partial(point_gradient, parts.network, state.variables)
    scores = {}
    for name, half in halves.items():
        points = clouds[name]
        if shared is None:
            gradient = np.stack([gradient_of(p, y) for p, y in zip(points, half.label, strict=True)])
        else:
            gradient = np.array(shared[name])
            if half.weight is not None:
                gradient[np.asarray(half.weight) == 0] = np.nan  # no loss of its own
        offset = points - np.median(points, axis=1, keepdims=True)
        maps = -(gradient * offset).sum(-1) * np.linalg.norm(offset, axis=-1)
        scores[name] = scipy.stats.skew(maps, axis=1)
        assert len(np.unique(scores[name])) == len(points)  # else the ranking says nothing
    return scores


def kept_by_hand(selection, scores, key):
    """Rows of the best scores, in batch order; of both domains together where the scope is pooled."""
    if "target" in scores:
        mean, std = selection.target_shift
        scores["target"] = (
            scores["target"] + mean + std * np.asarray(jax.random.normal(key, scores["target"].shape))
        )
    sign = 1 if selection.side == "low" else -1
    best = lambda s, share: np.sort(np.argsort(sign * s, kind="stable")[: int(share * len(s) + 0.5)])  # noqa: E731
    if selection.scope == "per_domain" or "target" not in scores:
        return {name: best(s, selection.keep_ratio) for name, s in scores.items()}
    sources = len(scores["source"])
    both = best(np.concatenate([scores["source"], scores["target"]]), selection.keep_ratio)
    return {"source": both[both < sources], "target": both[both >= sources] - sources}
