"""What a selection statistic is."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax

from smdsb_jax.state import Sample

Score: TypeAlias = Callable[[Sample], jax.Array]  # one sample → a scalar; the step vmaps it


class Statistic(NamedTuple):
    """A score with the defaults that belong to it.

    `target_shift` is the (mean, standard deviation) of the noise added to target scores in stage 2,
    in the score's own unit: the paper measured 0.1 for skewness, which means nothing for another.
    `needs_pretext`: it reads the sample's pretext loss, which costs a forward pass of the pretext task more.
    `per_cloud`: it reads logits or the label as those of the cloud, and has no meaning for parts of it.
    """

    score: Score
    side: str = "low"  # which scores are kept: low or high
    target_shift: tuple[float, float] = (0.0, 0.0)
    per_cloud: bool = False
    needs_pretext: bool = False
