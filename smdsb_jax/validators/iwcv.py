"""Importance-weighted cross-validation."""

import numpy as np

from smdsb_jax.validators.base import Evidence
from smdsb_jax.validators.components import components


def iwcv(evidence: Evidence) -> float:
    """Accuracy on source validation, weighed by the density of the target over the source's, 0 … 1.

    Two Gaussian kernel densities of training clouds, on principal components of the embeddings of both.
    [IWCV; Sugiyama et al., JMLR 8 (2007) 985]
    """
    from sklearn.neighbors import KernelDensity  # here: scikit-learn takes a second to import

    source, target, val = components(evidence)
    of_source, of_target = (
        KernelDensity(bandwidth=len(found) ** (-1 / (found.shape[1] + 4)))  # Scott's rule
        .fit(found)
        .score_samples(val)
        for found in (source, target)
    )
    log = of_target - of_source
    weight = np.exp(log - log.max())
    right = np.asarray(evidence.source_val.logits).argmax(axis=-1) == evidence.source_val_label
    return float(np.average(right.reshape(len(right), -1).mean(axis=1), weights=weight))
