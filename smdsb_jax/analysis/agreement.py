"""How far the two saliency modes keep the same samples, at the same network and mini-batches."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax.analysis.ranks import spearman
from smdsb_jax.augment import augment_batch
from smdsb_jax.build import build_parts, jit_at_precision
from smdsb_jax.config import domain_batch_size
from smdsb_jax.datasets.domain import Split
from smdsb_jax.inference import Model
from smdsb_jax.parts import Parts
from smdsb_jax.sampling import sample_batch
from smdsb_jax.selection import keep_mask, kept_count, score_samples
from smdsb_jax.state import Batch, Pair, Variables
from smdsb_jax.train_step import class_loss, measure


class Agreement(NamedTuple):
    """Of the source samples of some mini-batches, under their true labels."""

    per_sample: Float[np.ndarray, "batches batch"]  # scores with saliency.mode = per_sample
    shared: Float[np.ndarray, "batches batch"]  # … and shared
    overlap: Float[np.ndarray, " batches"]  # share of the samples kept by one mode that the other keeps too
    by_chance: float  # the overlap that unrelated scores would have: kept / batch
    rank_correlation: Float[np.ndarray, " batches"]  # Spearman's, of the scores


def saliency_agreement(model: Model, source: Split, batches: int = 20) -> Agreement:
    """Score the first mini-batches of stage 1 by the run's statistic from the gradients of both modes.

    Args:
      model: a run's network, as `smdsb_jax.load(workdir, stage=1)` gives it.
      source: training split of the run's source.
      batches: how many.

    Raises:
      ValueError: a run without selection.
    """
    config = model.config
    # without mixup: the gradient of a mixed cloud would be of no sample
    parts = build_parts(config, 1, len(model.classes))._replace(mixup_alpha=0.0)
    if parts.selection is None:
        raise ValueError("config.selection.statistic is 'none' in this run: it scores nothing to compare.")
    if parts.selection.needs_pretext:
        raise ValueError(
            f"config.selection.statistic = {config.selection.statistic!r} reads pretext losses, which no "
            "saliency mode changes: there is nothing to compare."
        )
    side, ratio, size = parts.selection.side, parts.selection.keep_ratio, domain_batch_size(config)
    of_both = jit_at_precision(config, functools.partial(_score_both, parts))
    scores = []
    for step in range(batches):
        # source twice: stage 1 makes no class pass of the target, which is not looked at
        batch = sample_batch(config.seed, 1, step, size, source, source, None)
        scores.append(of_both(model.variables, jax.random.fold_in(jax.random.key(config.seed), step), batch))
    per_sample, shared = (np.asarray(s) for s in zip(*jax.device_get(scores), strict=True))
    masks = jax.vmap(lambda scores: keep_mask(scores, ratio, side))
    kept, other = np.asarray(masks(jnp.asarray(per_sample))), np.asarray(masks(jnp.asarray(shared)))
    count = kept_count(ratio, size)
    correlation = np.array([spearman(a, b) for a, b in zip(per_sample, shared, strict=True)])
    return Agreement(per_sample, shared, (kept & other).sum(axis=1) / count, count / size, correlation)


def _score_both(parts: Parts, variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Array]:
    augment_key, pass_key, measure_key = jax.random.split(key, 3)
    augmented = augment_batch(parts.augment, augment_key, batch)
    of_points = jax.grad(class_loss, argnums=4, has_aux=True)
    points = Pair(augmented.source.points, None)
    gradient, (passed, _) = of_points(
        parts, pass_key, variables["params"], variables["batch_stats"], points, augmented
    )
    score = parts.selection.score  # type: ignore[union-attr]
    alone = measure(parts, variables, measure_key, augmented, passed, None).source
    shared = measure(parts, variables, measure_key, augmented, passed, gradient).source
    return score_samples(score, alone), score_samples(score, shared)
