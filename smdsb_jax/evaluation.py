"""A network on a whole split: logits and embeddings in inference mode, scores, confusion matrix."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax import augment
from smdsb_jax.datasets.domain import Split
from smdsb_jax.network import Network, predict
from smdsb_jax.sampling import padded_chunks
from smdsb_jax.state import Predictions, Variables


class Evaluated(NamedTuple):
    """Predictions of some clouds, and which of their stored points the network got."""

    predictions: Predictions
    rows: Int[Array, "n points"]


# (variables, stored clouds, their indices) → Evaluated
EvalStep = Callable[[Variables, Array, Array], Evaluated]


def eval_step(
    network: Network,
    points: int,
    subsample: str,
    variables: Variables,
    stored: Float[Array, "batch stored 3"],
    index: Int[Array, " batch"],
) -> Evaluated:
    """Logits and embeddings by running statistics, without augmentation.

    The start of the sub-sampling depends on the cloud's index alone, so that a number can be repeated.
    """
    taken = jax.vmap(
        lambda i, cloud: augment.subsample(jax.random.fold_in(jax.random.key(0), i), cloud, points, subsample)
    )(index, stored)
    output, features, _ = predict(network, variables, taken.points)
    return Evaluated(Predictions(network.task.logits(output), features.embedding), taken.rows)


def predict_split(
    step: EvalStep, variables: Variables, points: Float[np.ndarray, "n stored 3"], batch: int
) -> Evaluated:
    """`step` (a jitted `eval_step`) over all clouds, `batch` at a time; numpy arrays, in stored order."""
    parts, start = [], 0
    for chunk, valid in padded_chunks(points, batch):
        found = step(variables, jnp.asarray(chunk), start + jnp.arange(batch))
        parts.append(jax.tree.map(lambda array: np.asarray(array)[:valid], found))  # noqa: B023
        start += batch
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def labels_and_predictions(
    step: EvalStep, variables: Variables, split: Split, batch: int
) -> tuple[Int[np.ndarray, "n *points"], Int[np.ndarray, "n *points"]]:
    """True and predicted classes of a split: of its clouds, or of those points that the network got."""
    (logits, _), rows = predict_split(step, variables, split.points, batch)
    label = split.label if split.label.ndim == 1 else np.take_along_axis(split.label, rows, axis=1)
    return label, logits.argmax(axis=-1)
