"""Deep embedded validation: the source's risk, weighed as if it were the target's."""

import numpy as np
from jaxtyping import Float

from smdsb_jax.validators.base import Evidence, per_cloud_loss
from smdsb_jax.validators.components import components

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the domain classifier; chosen by 5-fold log loss


def dev(evidence: Evidence) -> float:
    """Minus the risk of source validation, each cloud weighed by how likely its embedding is the target's.

    With a control variate.   [DEV; You et al., ICML 2019, https://proceedings.mlr.press/v97/you19a.html]
    """
    return -risk(*losses_and_weights(evidence))


def devn(evidence: Evidence) -> float:
    """`dev` of weights over their largest, then shifted to the mean 1, which no single cloud can rule.

    [DEVN; Musgrave et al., arXiv:2208.07360]
    """
    loss, weight = losses_and_weights(evidence)
    return -risk(loss, normalized(weight))


def losses_and_weights(evidence: Evidence) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Of the clouds of source validation: cross-entropy, and density of the target over the source's.

    By a logistic regression that tells target from source training clouds by their embeddings' components.
    """
    from sklearn.linear_model import LogisticRegression  # here: scikit-learn takes a second to import
    from sklearn.model_selection import GridSearchCV

    source, target, val = components(evidence)
    classifier = LogisticRegression(solver="newton-cholesky")  # exact in a few steps of so few dimensions
    search = GridSearchCV(classifier, {"C": STRENGTHS}, scoring="neg_log_loss")
    search.fit(np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)]))
    of_source, of_target = search.predict_proba(val).T
    weight = len(source) / len(target) * of_target / np.maximum(of_source, 1e-12)
    return per_cloud_loss(evidence.source_val.logits, evidence.source_val_label), weight


def risk(loss: Float[np.ndarray, " m"], weight: Float[np.ndarray, " m"]) -> float:
    """mean(w l) + η (mean(w) - 1), with η = -cov(w l, w) / var(w), or 0 for equal weights."""
    weighted = weight * loss
    variance = np.var(weight, ddof=1)
    eta = -np.cov(weighted, weight)[0, 1] / variance if variance > 0 else 0.0
    return float(weighted.mean() + eta * (weight.mean() - 1))


def normalized(weight: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Over their largest, then shifted to the mean 1."""
    share = weight / weight.max()
    return share - share.mean() + 1
