"""Evidence made by hand."""

import numpy as np

from smdsb_jax.state import Predictions
from smdsb_jax.validators import Evidence

P = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])


def evidence_of(probability=P, embedding=None, val=None, label=None, source=None, points=None, predict=None):
    """Of probabilities [n, *points, classes]; `val` and `source` are `Predictions`."""
    with np.errstate(divide="ignore"):
        logits = np.log(np.asarray(probability, float))
    logits = np.maximum(logits, -800.0)  # log 0
    embedding = np.zeros((len(logits), 2)) if embedding is None else embedding
    return Evidence(Predictions(logits, embedding), val, label, points, lambda: source, predict)


def random_evidence(seed=0, n=60, classes=4, dimensions=8, logits=3.0):
    """Random outputs of both domains, the target's embeddings moved."""
    rng = np.random.default_rng(seed)

    def outputs(count, shift):
        embedding = rng.normal(size=(count, dimensions)) + shift
        return Predictions(logits * rng.normal(size=(count, classes)), embedding)

    target, val, source = outputs(n, 0.3), outputs(n, 0.0), outputs(n, 0.0)
    label = rng.integers(classes, size=n)
    return Evidence(target, val, label, rng.normal(size=(n, 16, 3)), lambda: source, lambda p: target)
