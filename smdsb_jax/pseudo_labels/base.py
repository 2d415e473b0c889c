"""What a pseudo-label rule is."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from jaxtyping import Array, Float, Int


class PseudoLabels(NamedTuple):
    """Of a domain's training clouds, in stored order."""

    label: Int[Array, " clouds"]
    weight: Float[Array, " clouds"]  # of the cloud's classification loss; 0 leaves it to the pretext task
    confidence: Float[Array, " clouds"]  # probability of the label


Assign: TypeAlias = Callable[[Float[Array, "clouds classes"], Float[Array, "clouds d"]], PseudoLabels]
"""`assign(logits, embedding)` of all training clouds of the target, seen in inference mode."""
