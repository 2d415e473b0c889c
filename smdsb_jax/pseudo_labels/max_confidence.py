"""The most probable class of each cloud."""

import jax
import jax.numpy as jnp

from smdsb_jax.pseudo_labels.base import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.registry import check_range
from smdsb_jax.state import Predictions


def max_confidence(*, threshold: float = 0.0) -> PseudoLabelRule:
    """Label = argmax_c p_c, weight 1 where p_label >= threshold, else 0   [SM-DSB, arXiv:2504.15796, III-A].

    Args:
      threshold: least probability of a label that is trained on. The paper states none; 0 keeps all.

    Raises:
      ValueError: a threshold outside [0, 1].
    """
    check_range("pseudo_labels.threshold", threshold, 0, 1)  # a probability

    def assign(key: jax.Array, evidence: Evidence) -> PseudoLabels:
        del key
        labels = most_probable(evidence.target)
        return labels._replace(weight=(labels.confidence >= threshold).astype(labels.confidence.dtype))

    return PseudoLabelRule(assign, may_leave_out=threshold > 0)


def most_probable(predictions: Predictions) -> PseudoLabels:
    """The most probable class of each cloud, or point, with weight 1."""
    confidence = jnp.max(jax.nn.softmax(predictions.logits, axis=-1), axis=-1)
    label = jnp.argmax(predictions.logits, axis=-1).astype(jnp.int32)
    return PseudoLabels(label, jnp.ones_like(confidence), confidence)
