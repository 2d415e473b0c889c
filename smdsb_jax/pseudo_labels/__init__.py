"""Pseudo-labels of the target for stage 2: stage-1 logits → a label and a weight per cloud."""

from collections.abc import Callable

from smdsb_jax.pseudo_labels.base import Assign, PseudoLabels
from smdsb_jax.pseudo_labels.max_confidence import max_confidence

PSEUDO_LABELS: dict[str, Callable[..., Assign]] = {
    "max_confidence": max_confidence,  # the most probable class, if probable enough: SM-DSB
}

__all__ = ["PSEUDO_LABELS", "Assign", "PseudoLabels"]
