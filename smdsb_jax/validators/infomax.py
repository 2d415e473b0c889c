"""Information maximization."""

from smdsb_jax.validators.base import Evidence
from smdsb_jax.validators.diversity import diversity
from smdsb_jax.validators.entropy import entropy


def infomax(evidence: Evidence) -> float:
    """What a prediction tells of its cloud: `diversity` + `entropy`, 0 … log classes; 0 for one class.

    [IM; Musgrave et al., arXiv:2208.07360, after Shi and Sha, ICML 2012]
    """
    return diversity(evidence) + entropy(evidence)
