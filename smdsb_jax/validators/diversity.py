"""Balance of all predictions together."""

from smdsb_jax.validators.base import Evidence, entropies, probabilities


def diversity(evidence: Evidence) -> float:
    """Entropy of the mean prediction, 0 … log classes.

    [Musgrave et al., arXiv:2208.07360]
    """
    mean = probabilities(evidence.target.logits).mean(axis=0, keepdims=True)
    return float(entropies(mean)[0])
