"""Batch nuclear norm."""

import numpy as np

from smdsb_jax.validators.base import Evidence, probabilities


def bnm(evidence: Evidence) -> float:
    """Nuclear norm of the predictions over their number: high where they are sure and of many classes.

    At most sqrt(min(n, classes) / n).   [BNM; Cui et al., CVPR 2020, arXiv:2003.12237]
    """
    probability = probabilities(evidence.target.logits)
    return float(np.linalg.svd(probability, compute_uv=False).sum() / len(probability))
