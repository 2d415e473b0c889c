"""Pseudo-labels of the target in the course of stage 2: at which steps, by which network, what is said."""

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.datasets.domain import Split
from smdsb_jax.evaluation import EvalStep, predict_split
from smdsb_jax.pseudo_labels import PseudoLabelRule, PseudoLabels, Seen
from smdsb_jax.state import Variables


def refinement_steps(rule: PseudoLabelRule, steps: int) -> dict[int, int]:
    """Step of stage 2 → the number of the refinement (from 1) that precedes the next step."""
    parts = rule.refinements + 1
    at = {round(steps * number / parts): number for number in range(1, parts)}
    return {step: number for step, number in at.items() if step > 0}


def see(eval_step: EvalStep, variables: Variables, split: Split, batch: int) -> Seen:
    """What a network makes of all clouds of a split."""
    return Seen(*map(jnp.asarray, predict_split(eval_step, variables, split.points, batch)))


def refine(
    rule: PseudoLabelRule, key: jax.Array, labels: PseudoLabels, seen: Seen, number: int
) -> PseudoLabels:
    """The labels after refinement `number`; its randomness and progress depend on nothing else."""
    progress = jnp.asarray(number / (rule.refinements + 1), jnp.float32)
    return rule.refine(jax.random.fold_in(key, number), labels, seen, progress)


def describe(labels: PseudoLabels, true: np.ndarray) -> str:
    """How many there are and how good they are; the true labels are read for this line only."""
    used = np.asarray(labels.weight) > 0
    if not used.any():
        surest = float(labels.confidence.max())
        return (
            f"Pseudo-labels: none yet; of {used.size} target clouds the surest has confidence {surest:.2f}."
        )
    right = (np.asarray(labels.label) == true)[used].mean()
    return (
        f"Pseudo-labels: {used.sum()} of {used.size} target clouds, mean confidence "
        f"{labels.confidence.mean():.2f}; {100 * right:.1f} % are right (known to this line only)."
    )
