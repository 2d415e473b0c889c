"""Self-paced pseudo-labels: in every round those of which the network of that round is sure enough."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.pseudo_labels.base import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.pseudo_labels.max_confidence import most_probable
from smdsb_jax.registry import check_range

SCORES = ("confidence", "double_softmax")


def self_paced(
    *,
    threshold: float = 0.8,
    step: float = 0.005,
    rounds: int = 10,
    max_weight: float = 10.0,
    score: str = "confidence",
    draw_chosen: bool = False,
) -> PseudoLabelRule:
    """Label = argmax_c p_c where p_label > threshold + step * round   [GAST; Zou et al., ICCV 2021].

    With `double_softmax` where `double_softmax(logits)` < threshold + step * round, as MLSP's release, which
    has a constant threshold [Liang et al., ECCV 2022].

    A cloud that is not chosen has weight 0; a chosen one clouds / chosen, so that the mean over mini-batches
    is the mean over the chosen clouds, among which the release draws (`draw_chosen`). Where few are chosen,
    most mini-batches have none of them, and one label would weigh as much as a hundred: its weight ends at
    `max_weight`. The release *raises* the threshold by 0.005 a round; the paper's, exp(-gamma) with growing
    gamma, falls: a negative `step`. The release's falling class weights (1 to 0.5 on both domains) are left
    out: Adam does not see a common factor.

    Target accuracy of GAST's stage 2 from one and the same stage 1 (embedded catalog → scan, study budget,
    three seeds): 39.1 ± 3.5 with the limit of 10, 42.7 ± 0.9 without one (paired +3.6 [-3.7, +11.0]),
    37.5 ± 6.6 drawn among the chosen (-1.5 [-24.1, +21.1]): not told apart.

    Args:
      threshold: of the first round.
      step: by which the threshold moves with each round.
      rounds: of equal length; the first one's labels are those of stage 1.
      max_weight: of a chosen label; 10 is reached where a tenth of the clouds is chosen. Ours.
      score: `confidence`, or `double_softmax`, whose threshold fits one number of classes only.
      draw_chosen: mini-batches of the target are of chosen clouds alone, each of weight 1, as released; a
        pretext task in stage 2 then sees no others either.

    Raises:
      ValueError: an option out of its range.
    """
    if score not in SCORES:
        raise ValueError(f"config.pseudo_labels.score = {score!r}: one of 'confidence', 'double_softmax'.")
    by_confidence = score == "confidence"
    check_range("pseudo_labels.threshold", threshold, 0, 1 if by_confidence else 100)
    check_range("pseudo_labels.step", step, -1, 1)
    check_range("pseudo_labels.rounds", rounds, 1, 1000)
    check_range("pseudo_labels.max_weight", max_weight, 1, 1e6)

    def choose(evidence: Evidence, bar: float | Float[Array, ""]) -> PseudoLabels:
        labels = most_probable(evidence.target)
        # strictly, as released
        chosen = labels.confidence > bar if by_confidence else double_softmax(evidence.target.logits) < bar
        rare = 1.0 if draw_chosen else chosen.size / jnp.maximum(jnp.sum(chosen), 1)
        weight = jnp.minimum(rare, max_weight)
        return labels._replace(weight=jnp.where(chosen, weight, 0.0))

    def assign(key: jax.Array, evidence: Evidence) -> PseudoLabels:
        del key
        return choose(evidence, threshold)

    def refine(
        key: jax.Array, labels: PseudoLabels, evidence: Evidence, progress: Float[Array, ""]
    ) -> PseudoLabels:
        del key, labels
        return choose(evidence, threshold + step * jnp.round(progress * rounds))

    def check(classes: int) -> None:
        least = math.log(math.e + classes - 1) - 1  # of a prediction that is sure
        if not by_confidence and threshold <= least:
            raise ValueError(
                f"config.pseudo_labels.threshold = {threshold} would choose no label: the double_softmax of "
                f"{classes} classes is at least {least:.4f}. Raise it, or set config.pseudo_labels.score = "
                "'confidence', threshold = 0.95 and step = 0."
            )

    return PseudoLabelRule(
        assign, refine, rounds - 1, may_leave_out=True, draws_chosen=draw_chosen, check=check
    )


def double_softmax(logits: Float[Array, "*clouds classes"]) -> Float[Array, "*clouds"]:
    """D = - sum_c p_c log softmax(p)_c = log sum_c exp(p_c) - sum_c p_c^2 with p = softmax(logits).

    Low where the network is sure. It is no entropy: its log-softmax is of the probabilities. Of 10 classes
    between 1.4612 and 2.3026 (all alike); of p_label = 0.95 it is 1.5492 where the rest is of one class,
    1.5513 where it is even.   [MLSP's release; Liang et al., ECCV 2022]
    """
    p = jax.nn.softmax(logits, axis=-1)
    return jax.nn.logsumexp(p, axis=-1) - jnp.sum(p**2, axis=-1)
