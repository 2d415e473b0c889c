"""Runs as the README's tables: a row per way of training and stage, a column per direction."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smdsb_jax.analysis.agreement import saliency_agreement
from smdsb_jax.inference import load
from smdsb_jax.parts import load_domain
from smdsb_jax.summary import selected_rows

Values = dict[tuple[str, int], list[float]]  # (row, stage) → numbers of one run, in %


def accuracies(name: str, workdir: Path) -> Values:
    """Target test accuracy at the last step of each stage, for the row `name`."""
    last = [row for row in selected_rows(workdir) if row.selection == "last"]
    return {(name, row.stage): [100 * row.target_test] for row in last}


def agreement(_: str, workdir: Path) -> Values:
    """Of the two saliency modes by the network at the end of stage 1, one number per source mini-batch."""
    model = load(workdir, stage=1)
    found = saliency_agreement(model, load_domain(model.config, "source").train)
    return {
        ("kept by both saliency modes", 1): list(100 * found.overlap),
        ("the same by chance", 1): [100 * found.by_chance],
        ("rank correlation of scores", 1): list(100 * found.rank_correlation),
    }


def table(title: str, columns: Sequence[str], found: Mapping[tuple[str, int, str], Sequence[float]]) -> str:
    """Markdown; `found` holds the numbers of each (row, stage, column)."""
    lines = [f"| {title} | stage | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for name, stage in dict.fromkeys((name, stage) for name, stage, _ in found):
        cells = (mean_and_deviation(found[name, stage, column]) for column in columns)
        lines.append(f"| {name} | {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation; a single value has none."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"
