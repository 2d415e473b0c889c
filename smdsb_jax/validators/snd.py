"""Soft neighborhood density."""

import numpy as np
import scipy.special
from jaxtyping import Float

from smdsb_jax.validators.base import Evidence, entropies, probabilities

TEMPERATURE = 0.05  # the paper's
ROWS = 2048  # of points, evenly spaced, at most: the work grows with their square


def snd(evidence: Evidence) -> float:
    """Mean entropy of a prediction's similarities to the others, 0 … log (n - 1): high where they crowd.

    [SND; Saito et al., ICCV 2021, arXiv:2108.10860]
    """
    probability = probabilities(evidence.target.logits)
    step = -(-len(probability) // ROWS)
    return density(probability[::step], TEMPERATURE)


def density(rows: Float[np.ndarray, "n d"], temperature: float) -> float:
    """Of rows, by the cosine; NaN for a single one."""
    if len(rows) < 2:
        return float("nan")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit.T / temperature
    np.fill_diagonal(similarity, -np.inf)  # nobody is a neighbor of itself
    return float(entropies(scipy.special.softmax(similarity, axis=1)).mean())
