"""Certainty of each prediction."""

from smdsb_jax.validators.base import Evidence, entropies, probabilities


def entropy(evidence: Evidence) -> float:
    """Minus the mean entropy of the predictions, -log classes … 0.

    [Morerio et al., ICLR 2018, arXiv:1711.10288]
    """
    return float(-entropies(probabilities(evidence.target.logits)).mean())
