"""Mini-batches of a checkpoint as its training step would see them, the same for every measure."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax.analysis.subject import Subject
from smdsb_jax.augment import augment_batch
from smdsb_jax.parts import Parts
from smdsb_jax.pretext import build_view, prepare
from smdsb_jax.sampling import SOURCE, TARGET, batch_indices
from smdsb_jax.state import Batch, Clouds, Pair

Rows = tuple[Int[np.ndarray, "batches batch"], Int[np.ndarray, "batches batch"]]  # source, target


def draw_rows(subject: Subject, batch: int, clouds: int, seed: int) -> Rows:
    """Rows of the training splits in mini-batches, up to `clouds` of each domain and as many as both have.

    They depend on the data and `seed` alone, so that the checkpoints of all runs are held against the same.
    """
    splits = (subject.source.train, subject.target.train)
    count = max(min(clouds, *(len(s.label) for s in splits)) // batch, 1)
    return tuple(  # type: ignore[return-value]
        np.stack([batch_indices(seed, 1, domain, step, len(split.label), batch) for step in range(count)])
        for domain, split in zip((SOURCE, TARGET), splits, strict=True)
    )


class AugmentedBatch(NamedTuple):
    """A mini-batch as the step sees it, both domains; `label` is the truth, for the oracle."""

    points: Pair  # [batch, n, 3]
    label: Pair  # [batch, *points]
    pseudo: (
        Clouds | None
    )  # the target's half under its pseudo-labels, as stage 2 trains on it; None in stage 1
    prepared: Pair  # pretext samples
    loss_keys: Pair  # of their losses
    key: jax.Array  # of the class passes


def augment_and_prepare(
    parts: Parts, progress: Float[Array, ""], key: jax.Array, stored: Batch, pseudo: Clouds | None
) -> AugmentedBatch:
    """Views and prepared pretext samples of a mini-batch with true labels, drawn from `key`.

    `pseudo` is the target's half with its pseudo-labels; None in stage 1, which has none.
    """
    augment_key, pass_key = jax.random.split(key)
    augmented = augment_batch(parts.augment, augment_key, stored)
    target = augmented.target._replace(label=None)  # no task reads the truth
    if pseudo is not None:  # the same draws
        target = augment_batch(parts.augment, augment_key, stored._replace(target=pseudo)).target
    begun = []
    for name, clouds, before in zip(Batch._fields, (augmented.source, target), stored, strict=True):
        view = build_view(clouds, before, name, progress)
        begun.append(prepare(parts.pretext, view, jax.random.fold_in(pass_key, len(begun))))
    prepared, loss_keys = (Pair(*of_domains) for of_domains in zip(*begun, strict=True))
    points, label = (Pair(*(getattr(clouds, field) for clouds in augmented)) for field in ("points", "label"))
    return AugmentedBatch(points, label, None if pseudo is None else target, prepared, loss_keys, pass_key)


def augment_all(
    augment_one: Callable[..., AugmentedBatch], subject: Subject, rows: Rows, seed: int
) -> list[AugmentedBatch]:
    """All mini-batches, with the compiled `augment_and_prepare` of the checkpoint."""
    progress = jnp.asarray(subject.step / subject.parts.steps, jnp.float32)
    source, target, labels = subject.source.train, subject.target.train, subject.labels
    out = []
    for number, (of_source, of_target) in enumerate(zip(*rows, strict=True)):
        stored = Batch(
            Clouds(*map(jnp.asarray, (source.points[of_source], source.label[of_source]))),
            Clouds(*map(jnp.asarray, (target.points[of_target], target.label[of_target]))),
        )
        pseudo = None
        if subject.stage == 2:
            own = (jnp.asarray(labels.label)[of_target], jnp.asarray(labels.weight)[of_target])
            pseudo = Clouds(stored.target.points, *own)
        out.append(augment_one(progress, jax.random.fold_in(jax.random.key(seed), number), stored, pseudo))
    return out
