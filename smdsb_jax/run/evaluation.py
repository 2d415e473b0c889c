"""A network on a whole split: logits and embeddings in inference mode, scores, confusion matrix."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax import augment
from smdsb_jax.build import build_network
from smdsb_jax.config import Config
from smdsb_jax.datasets.domain import Split
from smdsb_jax.geometry.neighbors import nearest
from smdsb_jax.network import Network, predict
from smdsb_jax.run import hosts
from smdsb_jax.sampling import padded_chunks
from smdsb_jax.state import Predictions, Variables


class Evaluated(NamedTuple):
    """Predictions of some clouds, and which of their stored points the network got."""

    predictions: Predictions
    rows: Int[Array, "n points"]


EvalStep = Callable[[Variables, Array], Evaluated]  # (variables, stored clouds)


def as_evaluated(points: int, subsample: str, stored: Float[Array, "batch stored 3"]) -> augment.Taken:
    """The points of each cloud that a network gets in inference, without augmentation.

    One draw for all clouds: what is said of a cloud depends on nothing but the cloud.
    """
    take = functools.partial(augment.subsample, jax.random.key(0), count=points, method=subsample)
    return jax.vmap(take)(stored)


def eval_step(
    network: Network,
    points: int,
    subsample: str,
    variables: Variables,
    stored: Float[Array, "batch stored 3"],
) -> Evaluated:
    """Logits and embeddings by running statistics."""
    taken = as_evaluated(points, subsample, stored)
    output, features, _ = predict(network, variables, taken.points)
    return Evaluated(Predictions(network.task.logits(output), features.embedding), taken.rows)


def jit_eval_step(config: Config, classes: int) -> EvalStep:
    """The compiled `eval_step` of a configuration; the same for the same, so that it is compiled once."""
    return eval_program(build_network(config, classes), config)


def eval_program(network: Network, config: Config) -> EvalStep:
    """The compiled `eval_step` of a network, with the points and the precision of a configuration."""
    return _eval_program(network, config.data.points, config.data.subsample, config.matmul_precision)


@functools.cache
def _eval_program(network: Network, points: int, subsample: str, precision: str) -> EvalStep:
    step = functools.partial(eval_step, network, points, subsample)
    return jax.jit(jax.default_matmul_precision(precision)(step))


def eval_batch_size(config: Config) -> int:
    """`config.eval_batch_size`, up to a multiple of the devices."""
    devices = jax.device_count()
    return -(-config.eval_batch_size // devices) * devices


def predict_split(
    step: EvalStep, variables: Variables, points: Float[np.ndarray, "n stored 3"], batch: int
) -> Evaluated:
    """`step` (a jitted `eval_step`) over all clouds, `batch` at a time; numpy arrays, in stored order."""
    parts = []
    for chunk, valid in padded_chunks(points, batch):
        found = step(variables, jnp.asarray(chunk))
        parts.append(jax.tree.map(lambda array: array[:valid], hosts.fetch(found)))  # noqa: B023
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def at_stored_points(
    found: Evaluated, stored: Float[np.ndarray, "n stored 3"]
) -> Float[np.ndarray, "n *stored classes"]:
    """The logits; of points those of every stored one, each of the nearest that the network got."""
    logits, rows = np.asarray(found.predictions.logits), np.asarray(found.rows)
    if logits.ndim == 2 or rows.shape[1] == stored.shape[1]:  # then it got all, in their order
        return logits
    got = np.take_along_axis(stored, rows[:, :, None], axis=1)
    index = np.asarray(_nearest_rows(jnp.asarray(got), jnp.asarray(stored)))
    return np.take_along_axis(logits, index[:, :, None], axis=1)


@jax.jit
def _nearest_rows(
    got: Float[Array, "n points 3"], stored: Float[Array, "n stored 3"]
) -> Int[Array, "n stored"]:
    return jax.lax.map(lambda pair: nearest(pair[0], pair[1], 1)[:, 0], (got, stored))


def labels_and_outputs(
    step: EvalStep, variables: Variables, split: Split, batch: int
) -> tuple[Int[np.ndarray, "n *_"], Predictions]:
    """Labels and predictions of a split: of its clouds, or of those points that the network got."""
    predictions, rows = predict_split(step, variables, split.points, batch)
    label = split.label
    if label.ndim > 1:
        label = np.take_along_axis(label, np.asarray(rows), axis=1)
    return label, predictions


def labels_and_predictions(
    step: EvalStep, variables: Variables, split: Split, batch: int
) -> tuple[Int[np.ndarray, "n *_"], Int[np.ndarray, "n *_"]]:
    """True and predicted classes of a split, as `labels_and_outputs`."""
    label, found = labels_and_outputs(step, variables, split, batch)
    return label, np.asarray(found.logits).argmax(axis=-1)
