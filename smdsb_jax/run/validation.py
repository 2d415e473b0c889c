"""Validators at an evaluation: the clouds that they get, and their scores. No target label comes here."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.config import Config, recorded_validators
from smdsb_jax.run.evaluation import Evaluated
from smdsb_jax.scores import PREDICTED, PRESENT, VALIDATOR, effective_classes
from smdsb_jax.state import Predictions
from smdsb_jax.validators import Evidence, find_validator

STREAM = 4  # of the seed: which clouds
Predict = Callable[[Any], Evaluated]  # stored clouds → what a network makes of them, in numpy


class Stored(NamedTuple):
    """Training clouds of both domains, as they are stored."""

    source: Float[np.ndarray, "_ _ 3"]
    target: Float[np.ndarray, "_ _ 3"]


def draw(
    points: Float[np.ndarray, "n stored 3"], count: int, seed: int
) -> Float[np.ndarray, "drawn stored 3"]:
    """`count` of the clouds, or all if there are no more: the same at every evaluation of a run."""
    order = np.random.default_rng([seed, STREAM]).permutation(len(points))
    return points[np.sort(order[:count])]


def scores(
    config: Config,
    predict: Predict,
    stored: Stored,
    source_val: tuple[Int[np.ndarray, "m *points"], Predictions],
    say: Callable[[str], None],
) -> dict[str, float]:
    """`validator/NAME` of each of `config.validators`, and what says whether the network has collapsed.

    One that raises is NaN, and says why: a run does not end by it.

    Args:
      config: resolved.
      predict: of the network as it is now.
      stored: training clouds of both domains.
      source_val: labels of the source's validation clouds and what the network makes of them.
      say: prints a line.
    """
    recorded = recorded_validators(config)
    if not recorded:
        return {}
    evidence = gather(config, predict, stored, source_val)
    found = {
        PREDICTED: effective_classes(np.asarray(evidence.target.logits).argmax(axis=-1)),
        PRESENT: effective_classes(evidence.source_val_label),
    }
    for name, entry in recorded.items():
        try:
            found[f"{VALIDATOR}/{name}"] = float(find_validator(entry).score(evidence))
        except Exception as error:  # of a user's own any; of ours where outputs are not finite
            first = (str(error).splitlines() or [""])[0]
            say(f"The validator {name} raises {type(error).__name__}: {first}")
            found[f"{VALIDATOR}/{name}"] = float("nan")
    return found


def gather(
    config: Config,
    predict: Predict,
    stored: Stored,
    source_val: tuple[Int[np.ndarray, "m *points"], Predictions],
) -> Evidence:
    """What validators may know; the source's training clouds are drawn and looked at when one asks."""
    count, seed = config.validators.clouds, config.seed
    clouds = draw(stored.target, count, seed)
    target, rows = predict(clouds)
    label, of_val = source_val
    return Evidence(
        target,
        of_val,
        label,
        np.take_along_axis(clouds, np.asarray(rows)[:, :, None], axis=1),
        functools.cache(lambda: predict(draw(stored.source, len(clouds), seed)).predictions),
        lambda points: predict(points).predictions,
    )
