"""Embeddings of both domains in few dimensions, for what estimates densities or tells domains apart."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smdsb_jax.validators.base import Evidence

DIMENSIONS = 64  # a hundred clouds in the thousand dimensions of an embedding are apart whatever they are


class Components(NamedTuple):
    """Principal components of training clouds of both domains; their mean variance is 1."""

    source: Float[np.ndarray, "n d"]
    target: Float[np.ndarray, "k d"]
    source_val: Float[np.ndarray, "m d"]


def components(evidence: Evidence) -> Components:
    """At most 64, fitted on the training clouds."""
    from sklearn.decomposition import PCA  # here: scikit-learn takes a second to import

    source, target, val = (
        np.asarray(found.embedding, np.float64)
        for found in (evidence.source_train(), evidence.target, evidence.source_val)
    )
    both = np.concatenate([source, target])
    pca = PCA(min(DIMENSIONS, *both.shape), svd_solver="full").fit(both)
    scale = np.sqrt(pca.explained_variance_.mean()) or 1.0
    return Components(*(pca.transform(found) / scale for found in (source, target, val)))
