"""Mini-batches of a checkpoint as its training step would see them, the same for every measure."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax.analysis.subject import Subject
from smdsb_jax.pretext import View
from smdsb_jax.sampling import SOURCE, TARGET, batch_indices
from smdsb_jax.state import Batch, Clouds, Tree
from smdsb_jax.train_step import Parts, look

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


class Looked(NamedTuple):
    """A mini-batch as the step sees it, both domains; `label` is the truth, for the oracle."""

    points: tuple[Float[Array, "batch n 3"], Float[Array, "batch n 3"]]
    label: tuple[Int[Array, " batch"], Int[Array, " batch"]]
    prepared: tuple[Tree, Tree]
    key: jax.Array


def look_at(parts: Parts, stage: int, progress: Float[Array, ""], key: jax.Array, stored: Batch) -> Looked:
    """Views and prepared pretext samples of a mini-batch with true labels, drawn from `key`."""
    look_key, pass_key = jax.random.split(key)
    seen = look(parts.augment, look_key, stored)
    prepared = []
    for name, clouds, before in zip(Batch._fields, seen, stored, strict=True):
        # the label itself is read by no task; whether there is one tells labelled passes from others
        label = None if name == "target" and stage == 1 else clouds.label
        view = View(clouds.points, before.points, label, name, progress)
        prepared.append(parts.pretext.prepare(view, jax.random.fold_in(pass_key, len(prepared))))
    points, label = zip(*((clouds.points, clouds.label) for clouds in seen), strict=True)
    return Looked(points, label, (prepared[0], prepared[1]), pass_key)


def look_at_all(looks: Callable[..., Looked], subject: Subject, rows: Rows, seed: int) -> list[Looked]:
    """All mini-batches, with the compiled `look_at` of the checkpoint."""
    progress = jnp.asarray(subject.step / subject.parts.steps, jnp.float32)
    source, target = subject.source.train, subject.target.train
    out = []
    for number, (of_source, of_target) in enumerate(zip(*rows, strict=True)):
        stored = Batch(
            Clouds(*map(jnp.asarray, (source.points[of_source], source.label[of_source]))),
            Clouds(*map(jnp.asarray, (target.points[of_target], target.label[of_target]))),
        )
        out.append(looks(progress, jax.random.fold_in(jax.random.key(seed), number), stored))
    return out
