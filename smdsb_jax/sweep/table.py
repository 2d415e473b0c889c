"""The table of a sweep: Markdown for readers, CSV for programs; one part per way of choosing checkpoints."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smdsb_jax.files import whole_file
from smdsb_jax.markdown import markdown_table
from smdsb_jax.scores import choice_of
from smdsb_jax.sweep.curves import Curve, draw_curves
from smdsb_jax.sweep.differences import Cell, difference_lines
from smdsb_jax.sweep.grid import Grid, Run, rows_by_encoder
from smdsb_jax.sweep.measure import MEASURES
from smdsb_jax.sweep.picture import draw_table
from smdsb_jax.sweep.published import Published, average_text

MISSING = "\u2013"  # an en dash
AVERAGE = "average"
DIFFERENCES = (
    "Row minus row of the runs that share direction and seed: mean [95 % interval by Student's t], each seed "
    "a unit. An interval that holds 0 shows no difference; of 20 without one, 1 excludes it by chance."
)


class Results:
    """The numbers of the finished runs."""

    def __init__(self) -> None:
        self.values: dict[Cell, dict[int, list[float]]] = {}  # cell → seed → numbers of that run
        self.curves: dict[tuple[str, str], dict[int, Curve]] = {}  # row, direction → seed → of that run
        self.runs = 0


def add(found: Results, run: Run, values: Mapping[tuple[str, int, str], list[float]]) -> None:
    """Add what one run measured."""
    found.runs += 1
    for (row, stage, selection), numbers in values.items():
        found.values.setdefault((row, stage, selection, run.direction), {})[run.seed] = numbers


def cell_values(found: Results, cell: Cell, directions: Sequence[str]) -> list[float]:
    """All numbers of a cell; of the average, one per seed that has every direction."""
    row, stage, selection, direction = cell
    if direction != AVERAGE:
        return [number for numbers in found.values.get(cell, {}).values() for number in numbers]
    parts = [found.values.get((row, stage, selection, d), {}) for d in directions]
    seeds = sorted(set.intersection(*(set(part) for part in parts)))
    return [float(np.mean([np.mean(part[seed]) for part in parts])) for seed in seeds]


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation; a single value has none, and no value is a dash."""
    if not len(values):
        return MISSING
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def row_names(
    grid: Grid, found: Results, rows: Sequence[str], selection: str
) -> list[tuple[str, int | None]]:
    """(row, stage) in the grid's order; stage None: no run of the row is finished.

    A measure that names its own rows has them in the order they came.
    """
    there = [(row, stage) for row, stage, chosen, _ in found.values if chosen == selection]
    of_grid = not MEASURES[grid.measure].own_rows
    names: list[tuple[str, int | None]] = []
    for row in dict.fromkeys(rows if of_grid else (row for row, _ in there)):
        stages = sorted({stage for name, stage in there if name == row})
        names += [(row, stage) for stage in stages] or [(row, None)]
    return names


def columns_of(grid: Grid) -> list[str]:
    """The directions, and their average where they are several."""
    return [*grid.directions, *([AVERAGE] if len(grid.directions) > 1 else [])]


def choices_of(grid: Grid) -> dict[str, str]:
    """The measure's ways of choosing checkpoints and their titles, and the grid's own, as of a validator."""
    return {grid.select_by: choice_of(grid.select_by).title} | dict(MEASURES[grid.measure].choices)


def markdown(grid: Grid, found: Results, rows: Sequence[str], total: int) -> str:
    """All parts of the table.

    Args:
      grid: the table's declaration.
      found: the numbers so far.
      rows: names of the rows that have runs, in order.
      total: runs of the whole grid.
    """
    measure, columns = MEASURES[grid.measure], columns_of(grid)
    several = AVERAGE in columns
    parts = [
        f"# {grid.title}",
        f"{measure.title[0].upper()}{measure.title[1:]}: mean ± sample standard deviation over the runs of "
        f"different seeds; {found.runs} of {total} runs are done. {MISSING}: no run yet."
        + (" The average is over the directions, of the seeds that have all of them." if several else ""),
    ]
    for selection, title in choices_of(grid).items():
        lines = [["row", "stage", *columns, "runs"]]
        headline = selection == grid.select_by
        names = row_names(grid, found, rows, selection)
        for row, stage in names:
            cells = [cell_values(found, (row, stage or 0, selection, c), grid.directions) for c in columns]
            runs = sum(len(found.values.get((row, stage or 0, selection, d), {})) for d in grid.directions)
            count = f"{runs}/{grid.seeds * len(grid.directions)}"
            lines.append([row, str(stage or MISSING), *map(mean_and_deviation, cells), count])
            if headline and row in grid.published and (row, stage) == [n for n in names if n[0] == row][-1]:
                lines.append(_published_line(grid, row))
        if headline:
            lines += [_published_line(grid, row) for row in grid.published if row not in rows]
        marked = headline and len(choices_of(grid)) > 1
        parts += [
            f"## Checkpoint: {title}{' (headline)' if marked else ''}",
            markdown_table(lines[0], lines[1:]),
        ]
    if grid.contrasts:
        lines = difference_lines(found.values, grid.contrasts, grid.directions, grid.select_by)
        parts += [
            f"## Paired differences, {choices_of(grid)[grid.select_by]}",
            DIFFERENCES,
            markdown_table(lines[0], lines[1:]),
        ]
    if grid.published:
        parts.append(
            "*published*: as printed in the paper [SM-DSB, arXiv:2504.15796]; a row that has no other was "
            "not run here."
        )
    return "\n\n".join(parts) + "\n"


def _published_line(grid: Grid, row: str) -> list[str]:
    printed = grid.published[row]
    cells = [f"{printed.values[d]:.1f}" if d in printed.values else MISSING for d in grid.directions]
    if AVERAGE in columns_of(grid):
        cells.append(average_text(printed) if whole(grid, printed) else MISSING)
    return [f"*{row}, published*", "", *cells, ""]


def whole(grid: Grid, printed: Published) -> bool:
    """Whether the grid has the directions of a printed average."""
    return set(grid.directions) == set(printed.values)


def csv_text(grid: Grid, found: Results, rows: Sequence[str]) -> str:
    """One line per cell: `row,stage,checkpoint,direction,mean,std,count`, then the printed values.

    Empty: not there. `checkpoint` is a way of choosing, as config.select_by, or `published`; the printed
    averages are `average` and, computed anew, `average_recomputed`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "stage", "checkpoint", "direction", "mean", "std", "count"])
    for selection in choices_of(grid):
        for row, stage in row_names(grid, found, rows, selection):
            for column in [*grid.directions, AVERAGE]:
                values = cell_values(found, (row, stage or 0, selection, column), grid.directions)
                mean = f"{np.mean(values):.4f}" if values else ""
                spread = f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
                writer.writerow([row, stage or "", selection, column, mean, spread, len(values)])
    for row, printed in grid.published.items():
        averages = {AVERAGE: printed.average, f"{AVERAGE}_recomputed": round(printed.recomputed, 4)}
        averages = averages if printed.average is not None else {}
        for column, value in (printed.values | averages).items():
            writer.writerow([row, "", "published", column, value, "", ""])
    return text.getvalue()


def write_tables(grid: Grid, found: Results, total: int, workdir: Path) -> None:
    """Write table.md, table.csv, table.png and curves.png into the folder, each whole or not at all."""
    rows = list(rows_by_encoder(grid))
    for name, text in (("md", markdown(grid, found, rows, total)), ("csv", csv_text(grid, found, rows))):
        with whole_file(workdir / f"table.{name}") as part:
            part.write_text(text, encoding="utf-8")
    columns = columns_of(grid)
    names, by = row_names(grid, found, rows, grid.select_by), grid.select_by
    points = [
        (row, stage, [cell_values(found, (row, stage or 0, by, c), grid.directions) for c in columns])
        for row, stage in names
    ]
    printed = {
        row: [*(p.values.get(d) for d in grid.directions), p.average if whole(grid, p) else None][
            : len(columns)
        ]
        for row, p in grid.published.items()
    }
    measure = MEASURES[grid.measure]
    title = f"{grid.title}: {measure.title}, {choices_of(grid)[by]}, {found.runs} of {total} runs"
    draw_table(workdir / "table.png", title, columns, points, printed)
    curves = {
        (row, d): list(found.curves[row, d].values())
        for row in rows
        for d in grid.directions
        if (row, d) in found.curves
    }
    if curves:
        draw_curves(workdir / "curves.png", f"{grid.title}: target test, %, {found.runs} runs", curves)
