"""The learning curves of a table's runs: a panel per row, a line per run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smdsb_jax.report.pictures import COLORS, FAINT, INK, save
from smdsb_jax.run.records import RECORDS, read_records
from smdsb_jax.scores import value_of

Curve = Float[np.ndarray, "2 _"]  # evaluations: step, score in %
COLUMNS, MOST = 4, 40  # panels side by side, and of one picture


def learning_curve(workdir: Path) -> Curve:
    """The headline on the target's test at each evaluation of a run."""
    found = [(r["step"], value_of(r, "target_test")) for r in read_records(workdir / RECORDS)]
    return np.array([(step, 100 * score[1]) for step, score in found if score is not None]).reshape(-1, 2).T


def draw_curves(
    path: str | os.PathLike[str], title: str, curves: Mapping[tuple[str, str], Sequence[Curve]]
) -> None:
    """Draw each run as a thin line, and the mean of its row and direction over the seeds as a bold one.

    In grey behind them the means of the first row, which the others are held against.

    Args:
      path: of the PNG.
      title: above all panels.
      curves: by row and direction, of each seed; the rows as they stand in the table, at most 40 are drawn.
    """
    rows = list(dict.fromkeys(row for row, _ in curves))[:MOST]
    directions = list(dict.fromkeys(direction for _, direction in curves))
    height = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(3.1 * min(len(rows), COLUMNS), 0.9 + 2.2 * height), layout="constrained")
    panels = figure.subplots(height, min(len(rows), COLUMNS), sharex=True, sharey=True, squeeze=False)
    for axes, row in zip(panels.flat, rows, strict=False):
        for direction, color in zip(directions, _colors(directions), strict=True):
            runs = curves.get((row, direction), ())
            if behind := curves.get((rows[0], direction), ()):
                axes.plot(*_mean(behind), color=INK, alpha=0.35, linewidth=1.2, linestyle=(0, (4, 2)))
            for run in runs:
                axes.plot(*run, color=color, alpha=0.45, linewidth=0.8)
            if runs:
                axes.plot(*_mean(runs), color=color, linewidth=2, label=direction)
        axes.set_title(row, fontsize=10, color=INK)
        axes.grid(color=FAINT, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=INK)
    for axes in panels.ravel()[len(rows) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=12, color=INK)
    figure.supxlabel(f"step (optimizer updates); dashed: {rows[0]}", fontsize=10, color=INK)
    if len(directions) > 1:
        lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
        shown = [lines[direction] for direction in directions if direction in lines]
        figure.legend(handles=shown, loc="outside right upper", frameon=False, labelcolor=INK)
    save(figure, path)


def _colors(directions: Sequence[str]) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(directions))]


def _mean(runs: Sequence[Curve]) -> Curve:
    """Over the runs, at the steps that all have."""
    steps = sorted(set.intersection(*({float(s) for s in run[0]} for run in runs)))
    values = [[run[1][run[0] == step][-1] for run in runs] for step in steps]
    return np.array([steps, np.mean(values, axis=1) if steps else []], float)
