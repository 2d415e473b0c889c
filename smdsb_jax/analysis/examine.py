"""One checkpoint, examined: the scores of its samples, and the agreement that they should predict."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from smdsb_jax import gradients
from smdsb_jax.analysis.conflict import agreements
from smdsb_jax.analysis.examined import DOMAINS, Examined
from smdsb_jax.analysis.oracle import reference_scores
from smdsb_jax.analysis.subject import Subject
from smdsb_jax.analysis.views import AugmentedBatch, Rows, augment_all, augment_and_prepare, draw_rows
from smdsb_jax.build import jit_at_precision
from smdsb_jax.config import domain_batch_size
from smdsb_jax.inference import Model, apply_statistic, measure
from smdsb_jax.network import per_sample_mean
from smdsb_jax.selection import keep_mask
from smdsb_jax.state import Sample, Tree, Variables
from smdsb_jax.statistics import Score, Statistic, find_statistic

SHOWN = 60  # clouds of each domain that a report can show
FLAT = 0.01  # of a cloud's largest saliency: a point with no more has next to no share in the decision


class Settings(NamedTuple):
    """How much of a checkpoint is looked at."""

    samples: int = 256  # of each domain
    pool: int = 512  # clouds of each domain whose mean gradients are those of the classes and the oracle
    seed: int = 0  # which clouds, and the randomness of their views


class Drawn(NamedTuple):
    """Mini-batches of training clouds: those of samples, then those of the mean gradients alone."""

    rows: Rows
    measured: int  # so many mini-batches are of samples
    skipped: int  # so many are left out of the mean gradients: the samples', or none

    @property
    def samples(self) -> int:
        """Of each domain."""
        return self.measured * self.rows[0].shape[1]

    @property
    def pool(self) -> int:
        """Clouds of each domain in the mean gradients."""
        return self.rows[0][self.skipped :].size


def draw(subject: Subject, settings: Settings) -> Drawn:
    """Whole mini-batches of the run's own size, at least one.

    A sample's own gradient is no part of the mean that it is held against where the domains have, beside the
    samples, half of the pool or more; where they have less, all clouds are in both.
    """
    batch = domain_batch_size(subject.config)
    measured, pool = (max(clouds // batch, 1) for clouds in (settings.samples, settings.pool))
    rows = draw_rows(subject, batch, (measured + pool) * batch, settings.seed)
    if len(rows[0]) - measured >= max(pool // 2, 1):
        return Drawn(rows, measured, measured)
    rows = (rows[0][: max(measured, pool)], rows[1][: max(measured, pool)])
    return Drawn(rows, min(measured, len(rows[0])), 0)


def examine_scores(
    subject: Subject, group: str, drawn: Drawn, seed: int, statistics: Mapping[str, str | Score | Statistic]
) -> Examined:
    """Everything but the measures of agreement: takes seconds, so that a new statistic is soon tried.

    Args:
      subject: the checkpoint.
      group: of the checkpoints that differ from it in the seed only.
      drawn: its samples.
      seed: of their views.
      statistics: by name; each a name, `module:function`, a function or a `Statistic`.

    Raises:
      ValueError: as `apply_statistic`.
    """
    config, parts, state = subject.config, subject.parts, subject.state
    model = Model(config, subject.source.classes, parts.network, state.variables, subject.stage, subject.step)
    augment_one = jax.jit(functools.partial(augment_and_prepare, parts))
    first = tuple(rows[: drawn.measured] for rows in drawn.rows)
    augmented = augment_all(augment_one, subject, (first[0], first[1]), seed)
    true = tuple(np.concatenate([np.asarray(batch.label[half]) for batch in augmented]) for half in (0, 1))
    with_pseudo = subject.target.train._replace(label=np.asarray(subject.labels.label))
    under_pseudo = subject._replace(target=subject.target._replace(train=with_pseudo))  # the same draws
    pseudo = np.concatenate(
        [
            np.asarray(b.label.target)
            for b in augment_all(augment_one, under_pseudo, (first[0], first[1]), seed)
        ]
    )
    measured = []
    for half, label in ((0, true[0]), (1, pseudo), (1, true[1])):
        of_batches = zip(augmented, np.split(label, drawn.measured), strict=True)
        # each sample its own key, the same under either label: random scores must not repeat themselves
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), half), len(label))
        of_keys = keys.reshape(drawn.measured, -1)
        each = [
            measure(model, np.asarray(b.points[half]), own, k)
            for (b, own), k in zip(of_batches, of_keys, strict=True)
        ]
        measured.append(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each))
    of_run = config.selection.statistic
    if any(find_statistic(s).needs_pretext for s in (*statistics.values(), of_run) if s != "none"):
        losses = _pretext_losses(subject, augmented)
        measured = [
            s._replace(pretext_loss=losses[half]) for s, half in zip(measured, (0, 1, 1), strict=True)
        ]
    # a run without selection shows what the paper's would keep
    side = config.selection.side or "low"
    of_run = "skewness" if of_run == "none" else of_run
    score_all = functools.partial(_of_domains, model, measured=measured, where=subject.name)
    scores = {name: score_all(statistic) for name, statistic in statistics.items()}
    selecting = scores[of_run] if statistics.get(of_run) == of_run else score_all(of_run)
    kept = _kept(selecting, drawn, config.selection.keep_ratio, side)
    return _as_examined(subject, group, drawn, measured, scores, kept)


def _pretext_losses(subject: Subject, batches: Sequence[AugmentedBatch]) -> list[Float[Array, " n"]]:
    """Of the samples of source and target: those whose gradients are measured, in inference mode."""

    def losses(variables: Variables, state: Tree, prepared: Tree, key: jax.Array) -> Float[Array, " batch"]:
        setup = gradients.Setup(subject.parts, variables, state, train=False)
        return gradients.pretext_losses(setup, prepared, key)(setup.encoder)

    program = jit_at_precision(subject.config, losses)
    given = (subject.state.variables, subject.state.pretext)
    return [
        jnp.concatenate([program(*given, b.prepared[half], b.loss_keys[half]) for b in batches])
        for half in (0, 1)
    ]


def _of_domains(
    model: Model, statistic: str | Score | Statistic, measured: list[Sample], where: str
) -> Float[np.ndarray, " rows"]:
    pairs = zip(DOMAINS, measured, strict=True)
    return np.concatenate([apply_statistic(model, statistic, s, f"{where}, {name}") for name, s in pairs])


def _kept(
    scores: Float[np.ndarray, " rows"], drawn: Drawn, keep_ratio: float, side: str
) -> Bool[np.ndarray, " rows"]:
    """Within each mini-batch and domain, as stage 1 does it; noise on target scores is left out."""
    batches = scores.reshape(-1, drawn.rows[0].shape[1])
    return np.asarray(jax.vmap(lambda s: keep_mask(s, keep_ratio, side))(batches)).ravel()


def _as_examined(
    subject: Subject,
    group: str,
    drawn: Drawn,
    measured: list[Sample],
    scores: dict[str, Float[np.ndarray, " rows"]],
    kept: Bool[np.ndarray, " rows"],
) -> Examined:
    n, batch = drawn.samples, drawn.rows[0].shape[1]
    without_keys = jax.device_get([s._replace(key=()) for s in measured])  # numpy has no keys
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *without_keys)
    confidence = per_sample_mean(jax.nn.softmax(together.logits, axis=-1).max(axis=-1))
    classes, label, predicted = subject.source.classes, together.label, together.logits.argmax(axis=-1)
    if label.ndim > 1:  # a cloud of parts has no class
        classes, label, predicted = ("all",), *np.zeros((2, len(label)), np.int32)
    index = [drawn.rows[0].ravel()[:n], drawn.rows[1].ravel()[:n]]
    count = min(n, SHOWN)
    shown = np.concatenate([np.arange(count) + domain * n for domain in range(len(DOMAINS))])
    return Examined(
        name=f"{group}, seed {subject.config.seed}, stage {subject.stage}, step {subject.step}",
        group=group,
        seed=int(subject.config.seed),
        stage=subject.stage,
        step=subject.step,
        statistic=subject.config.selection.statistic,
        classes=classes,
        domain=np.repeat(np.array(DOMAINS), n),
        index=np.concatenate([*index, index[1]]).astype(np.int32),
        batch=np.tile(np.repeat(np.arange(drawn.measured, dtype=np.int32), batch), len(DOMAINS)),
        label=label,
        predicted=predicted.astype(np.int32),
        kept=kept,
        scores=scores,
        measures={},
        covariates={"loss": together.loss, "confidence": np.asarray(confidence)},
        saliency_shares=saliency_shares(together.saliency),
        shown=shown.astype(np.int32),
        points=together.points[shown],
        saliency=together.saliency[shown],
    )  # fmt: skip


def saliency_shares(saliency: Float[np.ndarray, "rows n"]) -> dict[str, Float[np.ndarray, " rows"]]:
    """Of each map the share of points without any saliency, and of those with at most 1 % of its largest.

    A map that is zero nearly everywhere is skewed whatever it means: its skewness tells of the network's
    maxima and not of the sample.
    """
    size = np.abs(saliency)
    return {
        "zero": np.mean(size == 0, axis=1),
        "flat": np.mean(size <= FLAT * size.max(axis=1, keepdims=True), axis=1),
    }


class Measured(NamedTuple):
    """Measures of agreement and checks on them, each [2, samples]: source, target; and angles."""

    measures: dict[str, Float[np.ndarray, "2 n"]]
    checks: dict[str, Float[np.ndarray, "2 n"]]
    angles: dict[str, Float[np.ndarray, ""]]  # of mean gradients


def measure_agreement(subject: Subject, drawn: Drawn, seed: int, tick: Callable[[str], Any]) -> Measured:
    """The expensive part: gradients. It knows no statistic, so it is computed once per checkpoint."""
    return Measured(*agreements(subject, drawn.rows, drawn.measured, drawn.skipped, seed, tick))


def with_measures(examined: Examined, measured: Measured) -> Examined:
    """Scores and agreement together; the references are measures that stand among the scores."""
    rows = {name: np.concatenate([of[0], of[1], of[1]]) for name, of in measured.measures.items()}
    return examined._replace(measures=rows, scores=examined.scores | reference_scores(rows))
