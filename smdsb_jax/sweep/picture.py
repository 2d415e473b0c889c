"""The picture of a table: a panel per direction, a line per row."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from smdsb_jax.report.pictures import COLORS, FAINT, INK, save

Point = tuple[str, int | None, Sequence[Sequence[float]]]  # row, stage, the numbers of each column
STAGE_COLORS = {1: COLORS[1], 2: COLORS[0]}


def draw_table(
    path: str | os.PathLike[str],
    title: str,
    columns: Sequence[str],
    points: Sequence[Point],
    published: Mapping[str, Sequence[float | None]],
) -> None:
    """Draw means with their sample standard deviations, and printed values as open diamonds.

    Args:
      path: of the PNG.
      title: above all panels.
      columns: a panel each.
      points: in the order of the lines, the two stages of a row in one line.
      published: row → printed value of each column, None where there is none.
    """
    rows = list(dict.fromkeys([*(row for row, _, _ in points), *published]))
    figure = Figure(
        figsize=(2.4 + 0.07 * max(map(len, rows)) + 1.9 * len(columns), 1.5 + 0.42 * len(rows)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for k, (axes, column) in enumerate(zip(panels, columns, strict=True)):
        for row, stage, values in points:
            if values[k] and stage is not None:
                _point(axes, rows.index(row), stage, values[k])
        for row, printed in published.items():
            if printed[k] is not None:
                axes.plot(
                    [printed[k]], [rows.index(row)], marker="D", markersize=6, linestyle="",
                    markerfacecolor="none", markeredgecolor=INK,
                )  # fmt: skip
        axes.set_title(column, fontsize=12, color=INK)
        axes.grid(color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=10, colors=INK)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    marks = [
        Line2D([], [], color=color, marker="o", linestyle="", label=f"stage {stage}")
        for stage, color in STAGE_COLORS.items()
        if any(stage == found for _, found, _ in points)
    ]
    if published:
        marks.append(
            Line2D([], [], marker="D", linestyle="", markerfacecolor="none", color=INK, label="published")
        )
    figure.suptitle(title, fontsize=12, color=INK)
    figure.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
    save(figure, path)


def _point(axes: Axes, y: int, stage: int, values: Sequence[float]) -> None:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    offset = -0.13 if stage == 1 else 0.13
    axes.errorbar(
        [np.mean(values)], [y + offset], xerr=spread, fmt="o", markersize=6, capsize=3,
        color=STAGE_COLORS.get(stage, INK),
    )  # fmt: skip
