"""What a task is."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax.augment import Mixed

Output: TypeAlias = Any  # what a head returns: an array, or a tree of several; samples along the first axis
Label: TypeAlias = Int[Array, "batch *points"]  # one per cloud, or one per point


class Task(NamedTuple):
    """Pure functions; options are bound when it is made.

    - `head(encoder, classes, dropout) -> module`: Features -> output.
    - `loss(output, label) -> [batch *points]`: of each label. A sample's loss, which the saliency is of too,
      is the mean over its points.
    - `logits(output) -> [batch *points classes]`.
    - `mixed_loss(output, label, mixed) -> [batch *points]`: of clouds that `augment` mixed, under the labels
      that they had before.
    - `scores(label, prediction, classes) -> {name: value}`: of a whole split, in numpy; the headline first.
      Higher is better.
    - `class_score`: name of what a table per class has.
    - `of_classes(confusion [classes classes]) -> [classes]`: its values; NaN where a class does not occur.
    - `per_point`: the data must have a label for each point, not one for each cloud.
    """

    head: Callable[[Any, int, float], nn.Module]
    loss: Callable[[Output, Label], Float[Array, "batch *points"]]
    logits: Callable[[Output], Float[Array, "batch *points classes"]]
    mixed_loss: Callable[[Output, Label, Mixed], Float[Array, "batch *points"]]
    scores: Callable[[np.ndarray, np.ndarray, int], dict[str, float]]
    class_score: str
    of_classes: Callable[[np.ndarray], np.ndarray]
    per_point: bool = False
