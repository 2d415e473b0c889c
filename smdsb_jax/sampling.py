"""Data order: which clouds make the mini-batch of a step, as a pure function of (seed, step). NumPy only."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.domain import Split
from smdsb_jax.pseudo_labels import PseudoLabels
from smdsb_jax.state import Batch, Clouds

SOURCE, TARGET = 0, 1


def batch_indices(
    seed: int, stage: int, domain: int, step: int, clouds: int, batch: int
) -> Int[np.ndarray, " batch"]:
    """Rows of the mini-batch: each epoch is a new permutation; an incomplete last batch is dropped.

    Of fewer clouds than a batch takes, each is in every batch, as often as any other or once more.

    Args:
      seed: of the run.
      stage: 1 or 2.
      domain: SOURCE or TARGET; the two are shuffled apart and have epochs of their own length.
      step: within the stage.
      clouds: in the training split.
      batch: clouds per step.
    """
    epoch, position = divmod(step, max(clouds // batch, 1))
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, stage, domain, epoch])))
    order = np.concatenate([generator.permutation(clouds) for _ in range(-(-batch // clouds))])
    return order[position * batch : (position + 1) * batch]


def sample_batch(
    seed: int,
    stage: int,
    step: int,
    batch: int,
    source: Split,
    target: Split,
    pseudo_labels: PseudoLabels | None,
    draws_chosen: bool = False,
    share: Any = slice(None),
) -> Batch:
    """The mini-batch of a step, all in numpy; the target has labels only where `pseudo_labels` are given.

    With `draws_chosen` the target's clouds are those whose labels weigh something, where there are any.
    Only the rows `share` of the batch are gathered: those of a process's own devices.
    """
    rows = batch_indices(seed, stage, SOURCE, step, len(source.label), batch)
    source_clouds = Clouds(*_take(rows[share], *source))
    rows = batch_indices(seed, stage, TARGET, step, len(target.label), batch)
    if pseudo_labels is None:
        return Batch(source_clouds, Clouds(*_take(rows[share], target.points)))
    if draws_chosen:
        weight = np.reshape(pseudo_labels.weight, (len(target.label), -1))
        chosen = np.flatnonzero((weight > 0).any(axis=1))
        if len(chosen):
            rows = chosen[batch_indices(seed, stage, TARGET, step, len(chosen), batch)]
    return Batch(
        source_clouds, Clouds(*_take(rows[share], target.points, pseudo_labels.label, pseudo_labels.weight))
    )


def _take(rows: Int[np.ndarray, " rows"], *arrays: Any) -> list[Any]:
    return [array[rows] for array in arrays]


def padded_chunks(
    points: Float[np.ndarray, "n stored 3"], size: int
) -> list[tuple[Float[np.ndarray, "size stored 3"], int]]:
    """All clouds in chunks of one size, the last one filled by repeating its first cloud: (chunk, valid)."""
    chunks = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        filler = np.repeat(part[:1], size - len(part), axis=0)
        chunks.append((np.concatenate([part, filler]), len(part)))
    return chunks
