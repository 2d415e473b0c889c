"""What a run is scored by, by name, and how a stage's checkpoint is chosen by it.

The scores of an evaluation are named `ROLE/METRIC`, as `target_test/accuracy`: the split that was evaluated,
and what the task measures, the headline first. Checkpoints carry them; they are kept, chosen and put into
tables by `SELECT_BY`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

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
    role = SELECT_BY[select_by].score.partition("/")[0]
    if role in ROLES and role not in splits_of(source, target):
        domain = {"source": source, "target": target}[ROLES[role].domain]
        raise ValueError(
            f"config.select_by = {select_by!r} needs labelled {ROLES[role].split} clouds, and domain "
            f"{domain.name!r} has none: take last or source_val."
        )


def value_of(metrics: Mapping[str, Any], score: str) -> tuple[str, float] | None:
    """Name and value of a score, or of the headline of a role; None where it was not measured."""
    return next(((n, float(v)) for n, v in metrics.items() if n == score or n.startswith(f"{score}/")), None)


def names_of(metrics: Mapping[str, Any]) -> list[str]:
    """The names of all scores among the metrics of a checkpoint, in their order."""
    return [name for name in metrics if "/" in name]


def title_of(score: str) -> str:
    """`target test accuracy` of `target_test/accuracy`."""
    role, _, metric = score.partition("/")
    words = f"{ROLES[role].domain} {ROLES[role].words}" if role in ROLES else role
    return f"{words} {metric}".replace("_", " ")


def sentence(scores: Mapping[str, float], source: str, target: str) -> str:
    """The headlines in a line, as `accuracy 70.8 % on catalog (source) validation, 40.8 % on …`."""
    domains, parts, said = {"source": source, "target": target}, [], ""
    for name, role in ROLES.items():
        found = value_of(scores, name)
        if found is not None:
            metric = found[0].partition("/")[2].replace("_", " ")
            where = f"{domains[role.domain]} ({role.domain}) {role.words}"
            parts.append(f"{'' if metric == said else metric + ' '}{100 * found[1]:.1f} % on {where}")
            said = metric
    return ", ".join(parts)
