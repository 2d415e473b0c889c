"""Class correlation."""

import numpy as np

from smdsb_jax.validators.base import Evidence, probabilities


def corr_c(evidence: Evidence) -> float:
    """Cosine of the classes' correlation PᵀP with the identity: 1 only where sure and balanced.

    [SoftmaxCorr; Tu et al., "Assessing Model Out-of-distribution Generalization with Softmax Prediction
    Probability Baselines and A Correlation Method"]
    """
    probability = probabilities(evidence.target.logits)
    correlation = probability.T @ probability
    classes = probability.shape[1]
    return float(np.trace(correlation) / (np.linalg.norm(correlation) * np.sqrt(classes)))
