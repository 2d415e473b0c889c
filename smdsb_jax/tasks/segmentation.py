"""Part segmentation: one label per point."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax.augment import Mixed
from smdsb_jax.layers.heads import PointwiseHead
from smdsb_jax.metrics import accuracy, class_iou, shape_confusions, shape_iou
from smdsb_jax.tasks.base import Task
from smdsb_jax.tasks.classification import cross_entropy, logits


def segmentation() -> Task:
    """Cross-entropy of every point, by a head that sees its features and the cloud's embedding.

    A sample's loss, and so its saliency, is of the mean over its points. [SM-DSB, arXiv:2504.15796, IV-C;
    head and mixing: Achituve et al., arXiv:2003.12641, as released for PointSegDA]
    """
    return Task(
        pointwise_head, cross_entropy, logits, mixed_cross_entropy, scores, "IoU", class_iou, per_point=True
    )


def pointwise_head(encoder: Any, classes: int, dropout: float) -> nn.Module:
    """Logits of every point, with biases, for any encoder."""
    del encoder
    return PointwiseHead(classes, dropout, use_bias=True)


def mixed_cross_entropy(
    logits: Float[Array, "batch n classes"], label: Int[Array, "batch n"], mixed: Mixed
) -> Float[Array, "batch n"]:
    """Each point under the label that it had in its own cloud; the share of the mixture weighs nothing."""
    both = jnp.concatenate([label, label[mixed.partner]], axis=1)
    return cross_entropy(logits, jnp.take_along_axis(both, mixed.rows, axis=1))


def scores(
    label: Int[np.ndarray, "n points"], prediction: Int[np.ndarray, "n points"], classes: int
) -> dict[str, float]:
    """Mean intersection over union in three conventions, and the share of points that were predicted right.

    - `mIoU`: the mean over a shape's parts, those that its labels or predictions have, then over shapes
      (PointSegDA's, the headline);
    - `mIoU_all_parts`: over all parts, where one that both lack counts 1;
    - `mIoU_pooled`: over the parts of all points together.
    """
    of_shapes = shape_confusions(label, prediction, classes)
    pooled = of_shapes.sum(axis=0)
    return {
        "mIoU": float(shape_iou(of_shapes).mean()),
        "mIoU_all_parts": float(np.nan_to_num(class_iou(of_shapes), nan=1.0).mean()),
        "mIoU_pooled": float(np.nanmean(class_iou(pooled))),
        "accuracy": accuracy(pooled),
    }
