"""What a run is scored by, by name, and how a stage's checkpoint is chosen by it.

The scores of an evaluation are named `ROLE/METRIC`, as `target_test/accuracy`: the split that was evaluated,
and what the task measures, the headline first. Those of validators are named `validator/NAME`. Checkpoints
carry them; they are kept and chosen by `SELECT_BY` and by validators, and put into tables.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from smdsb_jax.datasets.domain import Domain, Split, labelled


class Role(NamedTuple):
    """An evaluated split."""

    domain: str  # source or target
    split: str  # a field of Domain
    words: str  # for readers


ROLES: dict[str, Role] = {
    "source_val": Role("source", "val", "validation"),  # what may decide: it has labels and is not trained on
    "target_test": Role("target", "test", "test"),  # what is reported
}


class Choice(NamedTuple):
    """A way to choose a stage's checkpoint."""

    title: str
    score: str  # whose largest value decides, or a role, for its headline; empty: the last step


SELECT_BY: dict[str, Choice] = {
    "last": Choice("last", ""),  # no choice at all: what the papers' text says
    "source_val": Choice("best on source validation", "source_val"),  # needs no target labels
    "oracle": Choice("oracle: best on target test", "target_test"),  # reads them: a bound, no result
}

VALIDATOR = "validator"
# Effective numbers of classes: those that are predicted on the target, those that source validation has
PREDICTED, PRESENT = "classes/target", "classes/source"
COLLAPSED = 0.5  # of PRESENT: with fewer PREDICTED, a network is left out of a validator's choice


def choice_of(select_by: str) -> Choice:
    """The entry of `SELECT_BY`, or that of a validator."""
    return SELECT_BY.get(select_by) or Choice(f"best by {select_by}", f"{VALIDATOR}/{select_by}")


def effective_classes(label: Int[np.ndarray, "*clouds_and_points"]) -> float:
    """exp(H) of the frequencies of labels or predictions: as many classes of equal size would have it."""
    share = np.unique(label, return_counts=True)[1] / label.size
    return float(np.exp(-(share * np.log(share)).sum()))


def collapsed(metrics: Mapping[str, Any]) -> bool:
    """Whether few classes are predicted on the target; False where that was not recorded.

    Known without labels of the target. It may have other frequencies of classes than the source: the limit
    is well below what that explains.
    """
    return metrics.get(PREDICTED, math.inf) < COLLAPSED * metrics.get(PRESENT, 0)


class Chosen(NamedTuple):
    """An evaluation of a stage."""

    index: int
    note: str  # what a reader must know of the choice; empty: nothing


def choose(evaluations: Sequence[Mapping[str, Any]], select_by: str) -> Chosen | None:
    """The evaluation that is best by a way of choosing; None where none has its score.

    Of equals the earlier. A validator's value counts where it is finite and the network is not collapsed; if
    there is none, or several are all the same, the choice falls back to `source_val`, or else to `last`.

    Args:
      evaluations: metrics of one stage, in the order of the steps; of a stop between them without scores.
      select_by: of `SELECT_BY`, or a validator.
    """
    score = choice_of(select_by).score
    if not score or not evaluations:
        return Chosen(len(evaluations) - 1, "") if evaluations else None
    measured = {i: found[1] for i, m in enumerate(evaluations) if (found := value_of(m, score))}
    if select_by in SELECT_BY:
        return Chosen(max(measured, key=measured.__getitem__), "") if measured else None
    out = [i for i in measured if collapsed(evaluations[i])]
    left = {i: value for i, value in measured.items() if i not in out and math.isfinite(value)}
    note = (
        f"{len(out)} of {len(measured)} evaluations are collapsed: not chosen by {select_by}" if out else ""
    )
    if left and (len(left) == 1 or len(set(left.values())) > 1):
        return Chosen(max(left, key=left.__getitem__), note)
    by_source = choose(evaluations, "source_val")
    index, name = (by_source.index, "source_val") if by_source else (len(evaluations) - 1, "last")
    why = "is the same for all" if left else "has no value to choose by"
    return Chosen(index, f"{note}{'; ' if note else ''}{select_by} {why}: chosen by {name}")


def splits_of(source: Domain, target: Domain) -> dict[str, Split]:
    """The labelled clouds of each role that has some; the others cannot be scored."""
    domains = {"source": source, "target": target}
    found = {name: labelled(getattr(domains[role.domain], role.split)) for name, role in ROLES.items()}
    return {name: split for name, split in found.items() if len(split.label)}


def check_select_by(select_by: str, source: Domain, target: Domain) -> None:
    """Refuse a choice of checkpoints whose score needs labels that are not there.

    Raises:
      ValueError: names the field and what there is.
    """
    role = choice_of(select_by).score.partition("/")[0]
    if role in ROLES and role not in splits_of(source, target):
        domain = {"source": source, "target": target}[ROLES[role].domain]
        raise ValueError(
            f"config.select_by = {select_by!r} needs labelled {ROLES[role].split} clouds, and domain "
            f"{domain.name!r} has none: take last or source_val."
        )


def value_of(metrics: Mapping[str, Any], score: str) -> tuple[str, float] | None:
    """Name and value of a score, or of the headline of a role; None where it was not measured."""
    found = next(((n, v) for n, v in metrics.items() if n == score or n.startswith(f"{score}/")), None)
    return found and (found[0], math.nan if found[1] is None else float(found[1]))  # null in a record


def names_of(metrics: Mapping[str, Any]) -> list[str]:
    """The names of all scores among the metrics of a checkpoint, in their order."""
    return [name for name in metrics if "/" in name]


def title_of(score: str) -> str:
    """`target test accuracy` of `target_test/accuracy`."""
    role, _, metric = score.partition("/")
    words = f"{ROLES[role].domain} {ROLES[role].words}" if role in ROLES else role
    return f"{words} {metric}".replace("_", " ")


def sentence(scores: Mapping[str, float], source: str, target: str) -> str:
    """The headlines in a line, as `accuracy 70.8 % on catalog (source) validation, 40.8 % on …`.

    It says so if the network has collapsed.
    """
    domains, parts, said = {"source": source, "target": target}, [], ""
    for name, role in ROLES.items():
        found = value_of(scores, name)
        if found is not None:
            metric = found[0].partition("/")[2].replace("_", " ")
            where = f"{domains[role.domain]} ({role.domain}) {role.words}"
            parts.append(f"{'' if metric == said else metric + ' '}{100 * found[1]:.1f} % on {where}")
            said = metric
    if collapsed(scores):
        parts.append(f"collapsed to {scores[PREDICTED]:.1f} of {scores[PRESENT]:.1f} classes")
    return ", ".join(parts)
