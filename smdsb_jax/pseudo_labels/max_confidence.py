"""The most probable class of each cloud."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.pseudo_labels.base import Assign, PseudoLabels
from smdsb_jax.registry import check_range


def max_confidence(*, threshold: float = 0.0) -> Assign:
    """Label = argmax_c p_c, weight 1 where p_label >= threshold, else 0   [SM-DSB, arXiv:2504.15796, III-A].

    Args:
      threshold: least probability of a label that is trained on. The paper states none; 0 keeps all.

    Raises:
      ValueError: a threshold outside [0, 1].
    """
    check_range("pseudo_labels.threshold", threshold, 0, 1)  # a probability

    def assign(logits: Float[Array, "clouds classes"], embedding: Float[Array, "clouds d"]) -> PseudoLabels:
        del embedding
        confidence = jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1)
        weight = (confidence >= threshold).astype(logits.dtype)
        return PseudoLabels(jnp.argmax(logits, axis=-1).astype(jnp.int32), weight, confidence)

    return assign
