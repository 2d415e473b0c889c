"""Pseudo-labels of the target in the course of stage 2: at which steps, by which network, what is said."""

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.datasets.domain import UNLABELLED, Split
from smdsb_jax.pseudo_labels import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.run.evaluation import EvalStep, at_stored_points, predict_split
from smdsb_jax.state import Predictions, Variables


def refinement_steps(rule: PseudoLabelRule, steps: int) -> dict[int, int]:
    """Step of stage 2 → the number of the refinement (from 1) that precedes the next step."""
    parts = rule.refinements + 1
    at = {round(steps * number / parts): number for number in range(1, parts)}
    return {step: number for step, number in at.items() if step > 0}


def evidence_of(
    eval_step: EvalStep, variables: Variables, target: Split, source: Split | None, batch: int
) -> Evidence:
    """The predictions of all clouds of the target and, if it is given, of the source.

    Labels of points are of all that are stored, of which each step draws others.
    """

    def predictions(split: Split) -> Predictions:
        found = predict_split(eval_step, variables, split.points, batch)
        logits = at_stored_points(found, split.points)
        return Predictions(jnp.asarray(logits), jnp.asarray(found.predictions.embedding))

    if source is None:
        return Evidence(predictions(target))
    return Evidence(predictions(target), predictions(source), jnp.asarray(source.label))


def refine(
    rule: PseudoLabelRule, key: jax.Array, labels: PseudoLabels, evidence: Evidence, number: int
) -> PseudoLabels:
    """The labels after refinement `number`; its randomness and progress depend on nothing else."""
    progress = jnp.asarray(number / (rule.refinements + 1), jnp.float32)
    return rule.refine(jax.random.fold_in(key, number), labels, evidence, progress)


def describe(labels: PseudoLabels, true: np.ndarray) -> str:
    """How many there are and how good they are; the true labels are read for this line only."""
    used = np.asarray(labels.weight) > 0
    what = "clouds" if used.ndim == 1 else "points"
    if not used.any():
        surest = float(labels.confidence.max())
        return (
            f"Pseudo-labels: none yet; of {used.size:,} target {what} the surest has confidence {surest:.2f}."
        )
    judged = used & (true != UNLABELLED)
    right = ""
    if judged.any():
        share = (np.asarray(labels.label) == true)[judged].mean()
        right = f"; {100 * share:.1f} % are right (known to this line only)"
    return (
        f"Pseudo-labels: {used.sum():,} of {used.size:,} target {what}, mean confidence "
        f"{labels.confidence.mean():.2f}{right}."
    )
