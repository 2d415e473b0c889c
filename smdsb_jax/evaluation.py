"""A network on a whole split: logits and embeddings in inference mode, confusion matrix."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax import augment
from smdsb_jax.datasets.domain import Split
from smdsb_jax.metrics import confusion_matrix
from smdsb_jax.network import Network, classify
from smdsb_jax.sampling import padded_chunks
from smdsb_jax.state import Variables

# (variables, stored clouds, their indices) → (logits, embedding)
EvalStep = Callable[[Variables, Array, Array], tuple[Array, Array]]


class Predictions(NamedTuple):
    """Of all clouds of a split, in stored order."""

    logits: Float[np.ndarray, "n classes"]
    embedding: Float[np.ndarray, "n d"]


def eval_step(
    network: Network,
    points: int,
    subsample: str,
    variables: Variables,
    stored: Float[Array, "batch stored 3"],
    index: Int[Array, " batch"],
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch d"]]:
    """Logits and embeddings by running statistics, without augmentation.

    The start of the sub-sampling depends on the cloud's index alone, so that a number can be repeated.
    """
    seen = jax.vmap(
        lambda i, cloud: augment.subsample(jax.random.fold_in(jax.random.key(0), i), cloud, points, subsample)
    )(index, stored)
    logits, features, _ = classify(network, variables, seen)
    return logits, features.embedding


def predict_split(
    step: EvalStep, variables: Variables, points: Float[np.ndarray, "n stored 3"], batch: int
) -> Predictions:
    """`step` (a jitted `eval_step`) over all clouds, `batch` at a time."""
    logits, embedding, start = [], [], 0
    for chunk, valid in padded_chunks(points, batch):
        out = step(variables, jnp.asarray(chunk), start + jnp.arange(batch))
        logits.append(np.asarray(out[0])[:valid])
        embedding.append(np.asarray(out[1])[:valid])
        start += batch
    return Predictions(np.concatenate(logits), np.concatenate(embedding))


def evaluate(
    step: EvalStep, variables: Variables, split: Split, batch: int, classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Confusion matrix of a split: rows true, columns predicted."""
    logits = predict_split(step, variables, split.points, batch).logits
    return confusion_matrix(split.label, logits.argmax(axis=-1), classes)
