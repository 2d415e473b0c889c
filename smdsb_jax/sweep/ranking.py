"""Which row of a table one would take without target labels: rows by the value of a validator."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smdsb_jax.config import recorded_validators
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report.summary import selected_rows
from smdsb_jax.scores import choice_of, collapsed, value_of
from smdsb_jax.sweep.plan import Planned
from smdsb_jax.sweep.reverse import REVERSE


class Found(NamedTuple):
    """The headline's checkpoint of one run."""

    value: float  # of the validator; NaN where it is not known
    score: float  # on the target's test, in %; NaN without labels
    collapsed: bool


class Ranked(NamedTuple):
    """A row, over its runs."""

    row: str
    value: float
    score: float
    collapsed: int  # of its runs


def check_rank_by(rank_by: str, plan: Sequence[Planned]) -> None:
    """Refuse what some run of the plan does not record.

    Raises:
      ValueError: names the row and what it records.
    """
    for planned in plan:
        known = ("source_val", *recorded_validators(planned.config))
        if rank_by not in (REVERSE, *known):
            raise ValueError(
                f"--rank_by {rank_by!r}: row {planned.run.row!r} records {', '.join(known)}. Add it with "
                "--field \"validators.names=('infomax', …)\"."
            )


def found_in(workdir: Path, select_by: str, rank_by: str) -> Found:
    """Of the last stage of a finished run; by `reverse` the value is its second run's score."""
    scores = _last(workdir, select_by)
    score = value_of(scores, "target_test")
    if rank_by == REVERSE:
        second = workdir / REVERSE
        value = value_of(_last(second, select_by) if second.is_dir() else {}, "target_test")
    else:
        value = value_of(scores, choice_of(rank_by).score)
    return Found(
        math.nan if value is None else value[1],
        math.nan if score is None else 100 * score[1],
        collapsed(scores),
    )


def _last(workdir: Path, select_by: str) -> Mapping[str, float]:
    rows = [row for row in selected_rows(workdir) if row.select_by == select_by]
    return max(rows, key=lambda row: row.stage).scores if rows else {}


def rank(plan: Sequence[Planned], rank_by: str) -> tuple[list[Ranked], int]:
    """The rows, best first, and how many runs of each were compared: those that all rows have finished.

    A row with a collapsed run comes after those without, one of which no value is known at the end.
    """
    found: dict[str, dict[tuple[str, int], Found]] = {planned.run.row: {} for planned in plan}
    for planned in plan:
        if planned.progress == "done":
            run = planned.run
            of_run = found_in(run.workdir, planned.config.select_by, rank_by)
            found[run.row][run.direction, run.seed] = of_run
    common = set.intersection(*(set(runs) for runs in found.values()))
    if not common:
        return [], 0
    ranked = []
    for row, runs in found.items():
        values, scores, few = np.array([runs[pair] for pair in sorted(common)], float).T
        ranked.append(Ranked(row, float(values.mean()), float(scores.mean()), int(few.sum())))
    order = lambda r: (math.isnan(r.value), r.collapsed > 0, -r.value)  # noqa: E731
    return sorted(ranked, key=order), len(common)


def ranking_text(plan: Sequence[Planned], rank_by: str) -> str:
    """The rows in their order, with what each loses against the best one where target labels exist."""
    ranked, runs = rank(plan, rank_by)
    if not ranked:
        return f"Rows by {rank_by}: no direction and seed is finished in every row yet."
    best = max((row.score for row in ranked if not math.isnan(row.score)), default=math.nan)
    dash = "\u2013"
    lines = []
    for row in ranked:
        of_labels = (row.score, best - row.score)
        cells = (dash if math.isnan(number) else f"{number:.1f}" for number in of_labels)
        name = f"{row.row} ({row.collapsed} of {runs} runs collapsed)" if row.collapsed else row.row
        lines.append([name, dash if math.isnan(row.value) else f"{row.value:.4f}", *cells])
    table = markdown_table(["row", rank_by, "target test, %", "regret, points"], lines)
    return f"Rows by {rank_by} at their headline checkpoint, mean of {runs} runs each:\n{table}"
