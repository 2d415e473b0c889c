"""What a run came to, as text: Markdown tables that also line up as plain text."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from smdsb_jax.markdown import markdown_table
from smdsb_jax.metrics import confusion_matrix
from smdsb_jax.registry import lookup
from smdsb_jax.scores import ROLES, SELECT_BY, choice_of, title_of
from smdsb_jax.tasks import Task


class Selected(NamedTuple):
    """A checkpoint of one stage, how it was chosen (as `config.select_by`), and its scores, in 0 … 1."""

    stage: int
    select_by: str
    step: int
    scores: Mapping[str, float]
    note: str = ""  # what a reader must know of the choice


def summary_table(rows: Sequence[Selected], headline: str) -> str:
    """Markdown table of the selected checkpoints: a column per way of choosing, so that none is mixed up.

    A way whose score was not measured, as of a target without labels, has none. Of validators there is the
    headline's column at most, and no row.

    Raises:
      ValueError: an unknown way of choosing.
    """
    for row in rows:
        if row.select_by != headline:
            lookup(SELECT_BY, row.select_by, "select_by")
    found = {(row.stage, row.select_by): row for row in rows}
    scores = [n for n in dict.fromkeys(n for row in rows for n in row.scores) if n.partition("/")[0] in ROLES]
    ways = [name for name in titles(headline) if any(row.select_by == name for row in rows)]
    lines = []
    for stage in sorted({stage for stage, _ in found}):
        chosen = [found.get((stage, name)) for name in ways]
        for score in reversed(scores):  # the target's first
            cells = (_percent(None if c is None else c.scores.get(score)) for c in chosen)
            lines.append([f"{stage}", f"{title_of(score)}, %", *cells])
        lines.append([f"{stage}", "step", *(f"{c.step}" if c else "-" for c in chosen)])
    return markdown_table(["stage", "", *(titles(headline)[name] for name in ways)], lines)


def titles(headline: str) -> dict[str, str]:
    """The titles of `SELECT_BY` and of the headline, which says so."""
    choices = {name: choice_of(name) for name in (*SELECT_BY, headline)}
    return {k: f"{c.title}{' (headline)' if k == headline else ''}" for k, c in choices.items()}


def per_class_table(
    classes: Sequence[str],
    label: Int[np.ndarray, "n *points"],
    prediction: Int[np.ndarray, "n *points"],
    task: Task,
) -> str:
    """Markdown table of a split: score and commonest error per class, then all scores of the task."""
    confusion = confusion_matrix(label.ravel(), prediction.ravel(), len(classes))
    of_classes = task.of_classes(confusion)
    lines = []
    for i, (name, row, share) in enumerate(zip(classes, confusion, of_classes, strict=True)):
        errors = np.where(np.arange(len(row)) == i, 0, row)
        worst = int(errors.argmax())
        error = f"{classes[worst]} ({100 * errors[worst] / row.sum():.1f} %)" if errors.any() else "-"
        lines.append([name, str(row.sum()), _percent(share), error])
    known = of_classes[~np.isnan(of_classes)]
    lines.append(["mean over classes", "", _percent(float(known.mean()) if known.size else None), ""])
    for name, score in task.scores(label, prediction, len(classes)).items():
        lines.append([f"{name.replace('_', ' ')} of all", str(len(label)), _percent(score), ""])
    head = ["class", "points" if task.per_point else "samples", f"{task.class_score}, %"]
    return markdown_table([*head, "most often taken for"], lines)


def _percent(share: float | None) -> str:
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"
