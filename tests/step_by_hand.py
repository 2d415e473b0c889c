"""The training step written out: what tests/test_train_step.py compares the step of the library with."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from smdsb_jax.augment import point_cloud_mixup
from smdsb_jax.combine import Told
from smdsb_jax.config import domain_batch_size
from smdsb_jax.network import loss_of_one, passes_of, predict
from smdsb_jax.pretext import View, prepare
from smdsb_jax.state import Batch


def by_hand(config, parts, state, batch):
    """The step as the papers have it: one pass after the other, sums over clouds, numpy for the selection.

    Returns the losses, the variables after a descent by the gradient itself, and the kept rows.
    """
    keys = jax.random.split(
        jax.random.fold_in(state.key, state.step), 6
    )  # 1: class, 3: noise, 4: pretext, 5: rule
    batch_size = domain_batch_size(config)
    params, selection = state.variables["params"], config.selection
    halves = {name: half for name, half in zip(Batch._fields, batch, strict=True) if half.label is not None}
    clouds = {
        name: half.points[:, : config.data.points] for name, half in zip(Batch._fields, batch, strict=True)
    }

    def class_loss(params, clouds):
        variables, total = {**state.variables, "params": params}, 0.0
        for name, half in halves.items():
            points, targets = clouds[name], [(1.0, half.label)]
            if config.classification.mixup == "pcm" and name == "source":
                mix_key = jax.random.split(keys[1], 3)[0]
                points, partner, share, _ = point_cloud_mixup(
                    mix_key, points, config.classification.mixup_alpha
                )
                targets = [(share, half.label), (1 - share, half.label[partner])]
            logits, _, variables = predict(parts.network, variables, points, train=True)
            log_p = jax.nn.log_softmax(logits)
            weights = np.ones(batch_size) if half.weight is None else half.weight
            for i in range(batch_size):
                total -= sum(weights[i] * share * log_p[i, label[i]] for share, label in targets) / batch_size
        return config.classification.weight * total, variables["batch_stats"]

    def pretext_loss(params, batch_stats):
        variables, total = {"params": params, "batch_stats": batch_stats}, 0.0
        for name, key in zip(Batch._fields, jax.random.split(keys[4]), strict=True):
            if name == "source" and not config.pretext.on_source:
                continue
            gathers = selection.execution == "gather" and name in halves
            rows = kept[name] if gathers else np.arange(batch_size)
            half = getattr(batch, name)
            label = None if half.label is None else half.label[rows]
            view = View(clouds[name][rows], half.points[rows], label, name, state.step / parts.steps)
            prepared, key = prepare(parts.pretext, view, key)
            passes = passes_of(parts.network)
            losses, variables, _ = parts.pretext.loss(passes, variables, state.pretext, prepared, key)
            own = sum(losses["reconstruction"][i] for i, row in enumerate(rows) if row in kept[name])
            total += own / (batch_size if selection.denominator == "batch" else len(kept[name]))
        return config.pretext.weight * total, variables["batch_stats"]

    @jax.jit
    def run_class(params, clouds):
        return jax.value_and_grad(class_loss, (0, 1), has_aux=True)(params, clouds)

    (loss, batch_stats), (of_class, of_points) = run_class(params, clouds)
    kept = {name: np.arange(batch_size) for name in clouds}
    if selection.statistic != "none":
        shared = of_points if config.saliency.mode == "shared" else None
        kept |= kept_by_hand(selection, scores_by_hand(parts, state, halves, clouds, shared), keys[3])
    pretext = jax.jit(jax.value_and_grad(pretext_loss, has_aux=True))(params, batch_stats)
    (pretext, batch_stats), of_pretext = pretext
    encoders = (of_class["encoder"], of_pretext["encoder"])
    told = Told(("class", "pretext"), jnp.stack([loss, pretext]), jnp.zeros(2), jnp.zeros(()))
    merged = parts.combine.update(keys[5], encoders, told, state.combine).encoder
    gradient = jax.tree.map(jnp.add, of_class, of_pretext) | {"encoder": merged}
    variables = {"params": jax.tree.map(jnp.subtract, params, gradient), "batch_stats": batch_stats}
    return (loss, pretext), variables, kept


def scores_by_hand(parts, state, halves, clouds, shared):
    """scipy's skewness of each saliency map: of clean clouds one by one, or by the class pass's gradient."""
    gradient_of = jax.jit(jax.grad(lambda p, y: loss_of_one(parts.network, state.variables, p, y)[0]))
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
