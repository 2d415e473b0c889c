"""Whether the target's embeddings cluster as the network classifies them."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.validators.base import Evidence


class Clustered(NamedTuple):
    """Clouds in a space, their classes by the network, and their clusters."""

    embedding: Float[np.ndarray, "n d"]
    predicted: Int[np.ndarray, " n"]
    cluster: Int[np.ndarray, " n"]


def class_ami(evidence: Evidence) -> float:
    """Adjusted mutual information of predicted classes and clusters: 1 for the same, about 0 by chance.

    k-means from the mean embedding of each predicted class (0 for an absent one): nothing is drawn.
    [ClassAMI, CentroidInit; Musgrave et al., arXiv:2208.07360]
    """
    from sklearn.metrics import adjusted_mutual_info_score  # here: it takes a second to import

    found = clusters_of(evidence)
    return float(adjusted_mutual_info_score(found.predicted, found.cluster))


def class_ss(evidence: Evidence) -> float:
    """Silhouette of those clusters, -1 … 1; -1 for a single one.

    [ClassSS; Musgrave et al., arXiv:2208.07360]
    """
    from sklearn.metrics import silhouette_score

    found = clusters_of(evidence)
    several = 1 < len(np.unique(found.cluster)) < len(found.cluster)
    return float(silhouette_score(found.embedding, found.cluster)) if several else -1.0


def clusters_of(evidence: Evidence) -> Clustered:
    """As many clusters as there are classes.

    Raises:
      ValueError: fewer clouds than classes.
    """
    from sklearn.cluster import KMeans

    make: Any = KMeans  # its types are guessed from its defaults
    embedding = np.asarray(evidence.target.embedding, np.float64)
    logits = np.asarray(evidence.target.logits)
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    if len(predicted) < classes:
        raise ValueError(f"{classes} clusters need as many clouds: raise config.validators.clouds.")
    centers = np.zeros((classes, embedding.shape[1]))
    for name in np.unique(predicted):
        centers[name] = embedding[predicted == name].mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different embeddings than clusters
        cluster = make(classes, init=centers, n_init=1).fit_predict(embedding)
    return Clustered(embedding, predicted, cluster)
