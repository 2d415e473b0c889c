"""Pseudo-labels of the target for stage 2: stage-1 logits → a label and a weight per cloud."""

from collections.abc import Callable

from smdsb_jax.pseudo_labels.base import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.pseudo_labels.graph import graph
from smdsb_jax.pseudo_labels.max_confidence import max_confidence
from smdsb_jax.pseudo_labels.self_paced import self_paced
from smdsb_jax.pseudo_labels.voted import voted

PSEUDO_LABELS: dict[str, Callable[..., PseudoLabelRule]] = {
    "max_confidence": max_confidence,  # the most probable class, if probable enough: SM-DSB
    "self_paced": self_paced,  # anew in every round, above a threshold that moves: GAST
    "graph": graph,  # refined by a network on the graph of similar embeddings: Self-distillation
    "voted": voted,  # by the nearest source clouds, where enough of them agree: GLRV-like
}

__all__ = ["PSEUDO_LABELS", "Evidence", "PseudoLabelRule", "PseudoLabels"]
