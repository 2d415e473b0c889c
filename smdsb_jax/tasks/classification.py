"""Classification: one label per cloud."""

from typing import Any

import flax.linen as nn
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from smdsb_jax.augment import Mixed
from smdsb_jax.layers.heads import ClassificationHead
from smdsb_jax.metrics import accuracy, class_accuracy, confusion_matrix
from smdsb_jax.tasks.base import Task


def classification(*, head: str = "published") -> Task:
    """Cross-entropy of the head's logits, scored by the accuracy over all samples.

    The loss of a mixed cloud is its own label's and its partner's, by their shares of the points.
    [SM-DSB, arXiv:2504.15796, III-B; mixing: Achituve et al., arXiv:2003.12641, 3.3]

    Args:
      head: `published`, the encoder's own, or `linear`, one dense layer on the embedding, as PCFEA's.

    Raises:
      ValueError: another head.
    """
    if head not in HEADS:
        raise ValueError(f"config.task.head = {head!r}: one of {', '.join(map(repr, HEADS))}.")
    return Task(HEADS[head], cross_entropy, logits, mixed_cross_entropy, scores, "accuracy", class_accuracy)


def published_head(encoder: Any, classes: int, dropout: float) -> nn.Module:
    """The encoder's own."""
    return encoder.head(classes, dropout)


def linear_head(encoder: Any, classes: int, dropout: float) -> nn.Module:
    """One dense layer, without dropout."""
    del encoder, dropout
    return ClassificationHead(classes, hidden=(), hidden_bias=(), dropout=0.0)


HEADS = {"published": published_head, "linear": linear_head}


def logits(output: Float[Array, "batch *points classes"]) -> Float[Array, "batch *points classes"]:
    """The output itself."""
    return output


def cross_entropy(
    logits: Float[Array, "batch *points classes"], label: Int[Array, "batch *points"]
) -> Float[Array, "batch *points"]:
    """-log softmax(logits)[label], of each label."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


def mixed_cross_entropy(
    logits: Float[Array, "batch classes"], label: Int[Array, " batch"], mixed: Mixed
) -> Float[Array, " batch"]:
    """λ CE(own label) + (1 - λ) CE(the partner's), λ the share of the cloud's own points."""
    share = mixed.share
    return share * cross_entropy(logits, label) + (1 - share) * cross_entropy(logits, label[mixed.partner])


def scores(label: Int[np.ndarray, " n"], prediction: Int[np.ndarray, " n"], classes: int) -> dict[str, float]:
    """The share of all samples that were predicted right."""
    return {"accuracy": accuracy(confusion_matrix(label, prediction, classes))}
