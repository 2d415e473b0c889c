"""What a pseudo-label rule is."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int


class PseudoLabels(NamedTuple):
    """Of a domain's training clouds, in stored order."""

    label: Int[Array, " clouds"]
    weight: Float[Array, " clouds"]  # of the cloud's classification loss; 0 leaves it to the pretext task
    confidence: Float[Array, " clouds"]  # probability of the label


class Seen(NamedTuple):
    """What the network makes of all training clouds of the target, in inference mode."""

    logits: Float[Array, "clouds classes"]
    embedding: Float[Array, "clouds d"]


def unchanged(key: jax.Array, labels: PseudoLabels, seen: Seen, progress: Float[Array, ""]) -> PseudoLabels:
    """The refinement of a rule that labels once."""
    del key, seen, progress
    return labels


class PseudoLabelRule(NamedTuple):
    """Pure functions; options are bound when it is made.

    - `assign(key, seen) -> labels`: by the network of stage 1, before stage 2.
    - `refine(key, labels, seen, progress) -> labels`: by the network as it is then, `refinements` times,
      evenly spaced within stage 2; `progress` is the share of the stage that is done, above 0 and below 1.
    """

    assign: Callable[[jax.Array, Seen], PseudoLabels]
    refine: Callable[[jax.Array, PseudoLabels, Seen, Float[Array, ""]], PseudoLabels] = unchanged
    refinements: int = 0
