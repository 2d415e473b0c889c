"""Self-paced pseudo-labels: in every round those of which the network of that round is sure enough."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.pseudo_labels.base import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.pseudo_labels.max_confidence import most_probable
from smdsb_jax.registry import check_range


def self_paced(
    *, threshold: float = 0.8, step: float = 0.005, rounds: int = 10, max_weight: float = 10.0
) -> PseudoLabelRule:
    """Label = argmax_c p_c where p_label > threshold + step * round   [GAST; Zou et al., ICCV 2021].

    A cloud that is not chosen has weight 0; a chosen one clouds / chosen, so that the mean over mini-batches
    is the mean over the chosen clouds, among which the release draws. Where few are chosen, most mini-batches
    have none of them, and one label would weigh as much as a hundred: its weight ends at `max_weight`. The
    release *raises* the threshold by 0.005 a round; the paper's, exp(-gamma) with growing gamma, falls: a
    negative `step`. The release's falling class weights (1 to 0.5 on both domains) are left out: Adam does
    not see a common factor.

    Args:
      threshold: of the first round.
      step: by which the threshold moves with each round.
      rounds: of equal length; the first one's labels are those of stage 1.
      max_weight: of a chosen label; 10 is reached where a tenth of the clouds is chosen. Ours.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pseudo_labels.threshold", threshold, 0, 1)
    check_range("pseudo_labels.step", step, -1, 1)
    check_range("pseudo_labels.rounds", rounds, 1, 1000)
    check_range("pseudo_labels.max_weight", max_weight, 1, 1e6)

    def choose(evidence: Evidence, bar: float | Float[Array, ""]) -> PseudoLabels:
        labels = most_probable(evidence.target)
        chosen = labels.confidence > bar  # strictly, as released
        weight = jnp.minimum(chosen.size / jnp.maximum(jnp.sum(chosen), 1), max_weight)
        return labels._replace(weight=jnp.where(chosen, weight, 0.0))

    def assign(key: jax.Array, evidence: Evidence) -> PseudoLabels:
        del key
        return choose(evidence, threshold)

    def refine(
        key: jax.Array, labels: PseudoLabels, evidence: Evidence, progress: Float[Array, ""]
    ) -> PseudoLabels:
        del key, labels
        return choose(evidence, threshold + step * jnp.round(progress * rounds))

    return PseudoLabelRule(assign, refine, rounds - 1, may_leave_out=True)
