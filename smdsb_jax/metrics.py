"""Accuracy and intersection over union of predicted classes, most from one confusion matrix (numpy)."""

import numpy as np
from jaxtyping import Float, Int


def confusion_matrix(
    label: Int[np.ndarray, " n"], prediction: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    """How many samples of true class i (row) were predicted as class j (column).

    Matrices of disjoint sets of samples add up to the matrix of their union.

    Raises:
      ValueError: a label or prediction outside 0 … classes - 1.
    """
    for name, values in (("label", label), ("prediction", prediction)):
        wrong = values[(values < 0) | (values >= classes)]
        if wrong.size:
            raise ValueError(
                f"{name} = {wrong[0]} is no class; with classes = {classes}, 0 to {classes - 1} are."
            )
    index = label.astype(np.int64) * classes + prediction
    return np.bincount(index, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: Int[np.ndarray, "classes classes"]) -> float:
    """Share of all samples that were predicted right, sum_i m_ii / sum_ij m_ij; NaN without samples."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def entropy(probability: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, " n"]:
    """-Σ p log p of each row, in nats: 0 where one class is certain, log(classes) where none is likelier."""
    return -np.sum(probability * np.log(np.where(probability > 0, probability, 1.0)), axis=-1)


def class_accuracy(confusion: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, " classes"]:
    """Share of each true class that was predicted right (its recall), m_ii / sum_j m_ij.

    NaN for a class without samples: it was not measured, and 0 would say that all were wrong.
    """
    count = confusion.sum(axis=1)
    return np.where(count > 0, np.diag(confusion) / np.maximum(count, 1), np.nan)


def class_iou(confusion: Int[np.ndarray, "*more classes classes"]) -> Float[np.ndarray, "*more classes"]:
    """Intersection over union of each class, m_ii / (sum_j m_ij + sum_j m_ji - m_ii).

    NaN for a class that is neither among the labels nor among the predictions.
    """
    both = np.diagonal(confusion, axis1=-2, axis2=-1)
    either = confusion.sum(axis=-1) + confusion.sum(axis=-2) - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def shape_confusions(
    label: Int[np.ndarray, "n points"], prediction: Int[np.ndarray, "n points"], classes: int
) -> Int[np.ndarray, "n classes classes"]:
    """The confusion matrix of the points of each shape."""
    return np.stack([confusion_matrix(*shape, classes) for shape in zip(label, prediction, strict=True)])


def shape_iou(confusions: Int[np.ndarray, "n classes classes"]) -> Float[np.ndarray, " n"]:
    """Mean of `class_iou` over the parts that a shape's labels or predictions have, for each shape."""
    return np.nanmean(class_iou(confusions), axis=-1)
