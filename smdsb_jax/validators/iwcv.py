"""Importance-weighted cross-validation."""

import numpy as np

from smdsb_jax.validators.base import Evidence

DIMENSIONS = 64  # of principal components: densities of embeddings need few


def iwcv(evidence: Evidence) -> float:
    """Accuracy on source validation, weighed by the density of the target over the source's, 0 … 1.

    Two Gaussian kernel densities of training clouds, on principal components of the embeddings of both.
    [IWCV; Sugiyama et al., JMLR 8 (2007) 985]
    """
    from sklearn.decomposition import PCA  # here: it takes a second to import
    from sklearn.neighbors import KernelDensity

    source, target, val = (
        np.asarray(found.embedding, np.float64)
        for found in (evidence.source_train(), evidence.target, evidence.source_val)
    )
    both = np.concatenate([source, target])
    pca = PCA(min(DIMENSIONS, *both.shape), svd_solver="full").fit(both)
    scale = np.sqrt(pca.explained_variance_.mean())  # bandwidths are in this unit
    source, target, val = (pca.transform(found) / (scale or 1.0) for found in (source, target, val))
    of_source, of_target = (
        KernelDensity(bandwidth="scott").fit(found).score_samples(val) for found in (source, target)
    )
    log = of_target - of_source
    weight = np.exp(log - log.max())
    right = np.asarray(evidence.source_val.logits).argmax(axis=-1) == evidence.source_val_label
    return float(np.average(right.reshape(len(right), -1).mean(axis=1), weights=weight))
