"""Matrix norm."""

import numpy as np
import scipy.special
from jaxtyping import Float

from smdsb_jax.validators.base import Evidence, rows_of

POWER = 4
THRESHOLD = 5.0  # of the mean -log softmax: above, the network is sure enough for the softmax


def mano(evidence: Evidence) -> float:
    """Mean 4th power of all normalized logits, to the power 1/4.

    Normalized by the softmax, or by its second-order Taylor series where the predictions are less sure.
    [MaNo; Xie et al., NeurIPS 2024, arXiv:2405.18979, Eqs. 2 and 6]
    """
    logits = rows_of(evidence.target.logits)
    sure = -scipy.special.log_softmax(logits, axis=1).mean() > THRESHOLD
    return norm_of(scipy.special.softmax(logits, axis=1) if sure else taylor_softmax(logits))


def taylor_softmax(logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
    """Rows of 1 + z + z²/2, shifted to the minimum 0, over their sum; equal logits share it."""
    series = 1 + logits + logits**2 / 2
    series -= series.min(axis=1, keepdims=True)
    total = series.sum(axis=1, keepdims=True)
    return np.where(total > 0, series / np.where(total > 0, total, 1), 1 / logits.shape[1])


def norm_of(normalized: Float[np.ndarray, "rows classes"]) -> float:
    """The mean over all entries, in 0 … 1."""
    return float(np.mean(normalized**POWER) ** (1 / POWER))
