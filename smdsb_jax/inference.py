"""A trained run from Python: load it, classify clouds, score samples with a statistic."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from smdsb_jax import checkpoint
from smdsb_jax.config import Config
from smdsb_jax.datasets.domain import normalize
from smdsb_jax.evaluation import predict_split
from smdsb_jax.network import Network, loss_of_one
from smdsb_jax.parts import build_network, jit_at_precision, jit_eval_step
from smdsb_jax.saliency import measure_per_sample
from smdsb_jax.selection import score_samples
from smdsb_jax.state import Sample, Variables
from smdsb_jax.statistics import Score, find_statistic


class Model(NamedTuple):
    """A checkpoint, ready to use."""

    config: Config
    classes: tuple[str, ...]
    network: Network
    variables: Variables
    stage: int
    step: int


def load(workdir: str | Path, selection: str = "last", stage: int | None = None) -> Model:
    """The network of a run.

    Args:
      workdir: of the run.
      selection: `last`, `best_source_val`, `oracle_target_test` (chosen with target labels), or the number of
        a checkpoint folder.
      stage: 1 or 2; None: the latest there is.

    Raises:
      ValueError: no such run or checkpoint.
    """
    if not (Path(workdir) / "checkpoints").is_dir():
        raise ValueError(f"{workdir} is not the workdir of a run: it has no checkpoints/.")
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        total_step = (
            int(selection) if selection.isdigit() else checkpoint.select(checkpointer, selection, stage)
        )
        found = checkpoint.info(checkpointer, total_step)
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        variables = checkpoint.restore_variables(checkpointer, total_step, sharding)
    config = ConfigDict(found.config)
    network = build_network(config, len(found.classes))
    return Model(config, found.classes, network, variables, found.stage, found.step)


def predict(model: Model, clouds: Float[np.ndarray, "n p 3"]) -> Float[np.ndarray, "n classes"]:
    """Class probabilities of clouds in any unit, z up; each is centered and scaled as in training.

    Raises:
      ValueError: a coordinate that is not finite; names the cloud.
    """
    clouds = np.asarray(clouds, np.float32)
    finite = np.isfinite(clouds).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(f"predict: cloud {np.argmin(finite)} has a coordinate that is NaN or infinite.")
    step = jit_eval_step(model.config, len(model.classes))
    points = _enough(normalize(clouds), model.config.data.points)
    logits = predict_split(step, model.variables, points, min(len(points), 64)).logits
    return np.asarray(jax.nn.softmax(logits, axis=-1))


def samples(
    model: Model, points: Float[np.ndarray, "n p 3"], label: Int[np.ndarray, " n"], seed: int = 0
) -> Sample:
    """What a statistic sees of each cloud: its saliency, gradient, embedding, logits and loss, [n …]."""
    keys = jax.random.split(jax.random.key(seed), len(points))
    measure = functools.partial(_measure, model.network, float(model.config.saliency.alpha))
    return jit_at_precision(model.config, measure)(
        model.variables, jnp.asarray(points, jnp.float32), jnp.asarray(label, jnp.int32), keys
    )


def score(
    model: Model,
    points: Float[np.ndarray, "n p 3"],
    label: Int[np.ndarray, " n"],
    statistic: str | Score = "skewness",
) -> Float[np.ndarray, " n"]:
    """Score clouds (as a data set loads them) with a statistic: a name, `module:function` or a function."""
    function = find_statistic(statistic).score if isinstance(statistic, str) else statistic
    scores = jit_at_precision(model.config, functools.partial(score_samples, function))
    return np.asarray(scores(samples(model, points, label)))


def _measure(
    network: Network, alpha: float, variables: Variables, points: Array, label: Array, keys: Array
) -> Sample:
    return measure_per_sample(functools.partial(loss_of_one, network, variables), points, label, alpha, keys)


def _enough(points: Float[np.ndarray, "n p 3"], count: int) -> Float[np.ndarray, "n q 3"]:
    """Repeat points of clouds that have fewer than the network wants."""
    return points if points.shape[1] >= count else points[:, np.arange(count) % points.shape[1]]
