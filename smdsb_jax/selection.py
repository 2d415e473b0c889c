"""Scores → which samples of the mini-batch take part in the pretext task."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.state import Pair, Sample
from smdsb_jax.statistics import Score

SIDES = ("low", "high")
SCOPES = ("pooled", "per_domain")
DENOMINATORS = ("batch", "kept")
EXECUTIONS = ("mask", "gather")
ORACLES = ("oracle_gain", "oracle_dot_o")  # bounds that read the target's labels
POOLED = (
    "dot_c",
    *ORACLES,
)  # bounds that ask a pool of labelled clouds, of the source or, as an oracle, the target
BOUNDS = ("", "cos_c", *POOLED)  # scores from outside the step, of `run.bounds`; empty: none
POOL_STEPS = 10  # for which they keep it
GROUP = 0.3  # of a mini-batch, by score: the groups whose losses are recorded


class Selection(NamedTuple):
    """How to select; the fields are those of `config.selection`."""

    score: Score
    side: str
    keep_ratio: float
    scope: str
    denominator: str
    target_shift: tuple[float, float]
    execution: str
    freeze_unlabelled: bool = False
    needs_pretext: bool = False  # the score reads pretext losses
    bound: str = ""  # whose scores the step must be given, in place of the statistic's


def kept_count(keep_ratio: float, samples: int) -> int:
    """floor(keep_ratio * samples + 1/2), at least 1; exact also where 0.7 * 45 is 31.4999."""
    return min(max(int(keep_ratio * samples + 0.5 + 1e-9), 1), samples)


def keep_indices(scores: Float[Array, " batch"], count: int, side: str) -> Int[Array, " count"]:
    """The `count` samples with the lowest (or highest) scores; ties by lowest index, NaN after infinity."""
    return jnp.argsort(scores if side == "low" else -scores, stable=True)[:count]


def keep_mask(scores: Float[Array, " batch"], keep_ratio: float, side: str) -> Bool[Array, " batch"]:
    """Exactly `kept_count` samples are kept   [SM-DSB, arXiv:2504.15796, III-C: Selector]."""
    kept = keep_indices(scores, kept_count(keep_ratio, scores.shape[0]), side)
    return jnp.zeros(scores.shape, bool).at[kept].set(True)


def score_samples(score: Score, samples: Sample) -> Float[Array, " batch"]:
    """The statistic over a batch, as a constant.

    Raises:
      ValueError: the statistic does not return one floating-point number per sample.
    """

    def one(sample: Sample) -> Array:
        result = score(sample)
        if isinstance(result, float):
            result = jnp.asarray(result)
        typed = hasattr(result, "shape") and hasattr(result, "dtype")
        if not typed or result.shape or not jnp.issubdtype(result.dtype, jnp.floating):
            name = getattr(score, "__name__", repr(score))
            got = f"{result.dtype}{list(result.shape)}" if typed else type(result).__name__
            raise ValueError(
                f"The statistic {name} returns {got} for one sample; return one float, as jnp.mean does."
            )
        return result

    return jax.lax.stop_gradient(jax.vmap(one)(samples))


def checked_scores(name: str, scores: Float[np.ndarray, " n"], where: str) -> Float[np.ndarray, " n"]:
    """The scores, all finite; for use outside jit. `where` says whose they are, as "c2s source".

    Infinity is refused too: its rank is sound, but no mean, correlation or picture of the scores is.

    Raises:
      ValueError: a score is NaN or infinite; the message names the statistic and the first such sample.
    """
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        kinds = [k for k, test in (("NaN", np.isnan), ("infinity", np.isinf)) if test(scores).any()]
        raise ValueError(
            f"The statistic {name} returns {' or '.join(kinds)} for {bad.size} of {len(scores)} samples of "
            f"{where} (first: sample {bad[0]}). Guard its divisions and logarithms; if it has none to guard, "
            "the network's outputs are not finite."
        )
    return scores


@jax.named_scope("select")
def select(
    selection: Selection, samples: Pair, target_batch: int, key: jax.Array, scores: Pair | None = None
) -> tuple[Pair, dict[str, Array]]:
    """Keep masks of both domains, and what to record.

    Without target samples (stage 1) all targets are kept, or with `freeze_unlabelled` the ratio at random,
    or by its given scores.
    In stage 2 the target scores are shifted by noise first   [SM-DSB, V-D: pseudo-label scores deviate].

    Args:
      selection: how.
      samples: a `Sample` of each domain's clouds; the target's may be None.
      target_batch: clouds of the target.
      key: of the noise.
      scores: of both domains in place of the statistic's, [batch] each; the target's may be None in stage 1.

    Raises:
      ValueError: scores are given and not wanted, or the other way round.
    """
    if (scores is None) != (not selection.bound):
        wanted = f"config.selection.bound = {selection.bound!r}"
        raise ValueError(
            f"{wanted}: give the step the scores of run.bounds.build_scorer."
            if scores is None
            else f"{wanted}: the statistic scores, but the step was given scores."
        )
    given = Pair(None, None) if scores is None else scores
    of = lambda own, samples: score_samples(selection.score, samples) if own is None else own  # noqa: E731
    source_scores = of(given.source, samples.source)
    ratio, side = selection.keep_ratio, selection.side
    record = _record("source", source_scores, samples.source.loss)
    if samples.target is None:
        drawn = None
        if selection.freeze_unlabelled:
            drawn = jax.random.uniform(key, (target_batch,)) if given.target is None else given.target
        of_target = jnp.ones(target_batch, bool) if drawn is None else keep_mask(drawn, ratio, side)
        return Pair(keep_mask(source_scores, ratio, side), of_target), record
    target_scores = of(given.target, samples.target)
    record |= _record("target", target_scores, samples.target.loss)
    mean, std = selection.target_shift
    target_scores += mean + std * jax.random.normal(key, target_scores.shape, target_scores.dtype)
    if selection.scope == "per_domain":
        return Pair(keep_mask(source_scores, ratio, side), keep_mask(target_scores, ratio, side)), record
    kept = keep_mask(jnp.concatenate([source_scores, target_scores]), ratio, side)
    return Pair(*jnp.split(kept, [source_scores.shape[0]])), record


def _record(
    domain: str, scores: Float[Array, " batch"], loss: Float[Array, " batch"]
) -> dict[str, Float[Array, ""]]:
    """The mean score, the share without one, and the mean class loss of the GROUP with lowest and highest."""
    count = kept_count(GROUP, scores.shape[0])
    groups = {f"loss_{side}": jnp.mean(loss[keep_indices(scores, count, side)]) for side in SIDES}
    found = {
        "score": jnp.mean(scores),
        "undefined": jnp.mean(jnp.isnan(scores), dtype=scores.dtype),
        **groups,
    }
    return {f"{domain}/{name}": of for name, of in found.items()}


def mean_divisor(keep: Bool[Array, " batch"], denominator: str) -> int | Int[Array, ""]:
    """What kept samples' losses are divided by: the batch, or max(Σ keep, 1) for `denominator = "kept"`."""
    return keep.shape[0] if denominator == "batch" else jnp.maximum(jnp.sum(keep), 1)


def masked_mean(
    loss: Float[Array, " rows"], keep: Bool[Array, " rows"], divisor: int | Int[Array, ""]
) -> Float[Array, ""]:
    """Σ keep·loss / divisor, that of the batch whose rows these are; frozen samples get no gradient.

    A frozen sample's NaN does not reach the mean, but its derivative may be 0 · ∞ = NaN all the same (0 / 0,
    the length of the zero vector): a pretext task has to guard such operands before it uses them. Where one
    does not, the update is not finite, and the run stops at `update/norm`.
    """
    return jnp.sum(jnp.where(keep, loss, 0.0)) / divisor


def kept_rows(keep: Bool[Array, " batch"], count: int) -> Int[Array, " count"]:
    """The `count` kept rows, in batch order: for a pretext pass on them only."""
    return jnp.argsort(~keep, stable=True)[:count]
