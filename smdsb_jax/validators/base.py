"""What a validator is, and what it may know."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.special
from jaxtyping import Float, Int

from smdsb_jax.state import Predictions


class Evidence(NamedTuple):
    """What a run knows without a label of the target, in numpy.

    Clouds are as the network gets them in inference. Where points have labels, so have the logits a row for
    each point; an embedding is of the cloud.
    """

    target: Predictions  # of training clouds, drawn once for all evaluations
    source_val: Predictions
    source_val_label: Int[np.ndarray, "m *points"]  # the true ones
    target_points: Float[np.ndarray, "n p 3"]  # of `target`
    source_train: Callable[
        [], Predictions
    ]  # of as many training clouds as `target` has; computed when called
    predict: Callable[[Any], Predictions]  # of any clouds [k, p, 3], to look again


Score: TypeAlias = Callable[[Evidence], float]  # high is good; the same for the same evidence


class Validator(NamedTuple):
    """A score. `per_cloud`: it needs one label per cloud, and has no meaning where each point has one."""

    score: Score
    per_cloud: bool = False


def rows_of(logits: Any) -> Float[np.ndarray, "rows classes"]:
    """Logits in float64, of points one below another."""
    exact = np.asarray(logits, np.float64)
    return exact.reshape(-1, exact.shape[-1])


def probabilities(logits: Any) -> Float[np.ndarray, "rows classes"]:
    """Softmax of `rows_of`."""
    return scipy.special.softmax(rows_of(logits), axis=1)


def entropies(probability: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, " rows"]:
    """In nats; 0 log 0 is 0."""
    return scipy.special.entr(probability).sum(axis=1)


def per_cloud_loss(logits: Any, label: Int[np.ndarray, "n *points"]) -> Float[np.ndarray, " n"]:
    """Cross-entropy of each cloud, the mean over its points where they have labels."""
    log = scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)
    loss = -np.take_along_axis(log, label[..., None], axis=-1)
    return loss.reshape(len(loss), -1).mean(axis=1)
