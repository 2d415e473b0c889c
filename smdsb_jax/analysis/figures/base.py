"""What a figure is: a function of the material at hand, which gives pictures with their numbers."""

import csv
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from matplotlib.figure import Figure

from smdsb_jax.analysis.examined import Examined
from smdsb_jax.files import whole_file
from smdsb_jax.report.pictures import save

Row: TypeAlias = Mapping[str, str | int | float | None]


class Material(NamedTuple):
    """What can be drawn: some runs, and their examined checkpoints where a figure needs them."""

    workdirs: Sequence[Path]  # of runs, in the order in which they were given
    examined: Sequence[Examined] = ()  # of the figures that say `examines`
    root: str | None = None  # folder of the data set, if it has moved
    allow: Collection[str] = ()  # code that a run's configuration may import, as for `smdsb_jax.load`


class Drawn(NamedTuple):
    """A picture, the numbers that it shows, and sentences about them."""

    figure: Figure
    table: Sequence[Row]
    notes: Sequence[str] = ()


Draw: TypeAlias = Callable[[Material], Mapping[str, Drawn]]  # by what tells them apart, such as the group


class Drawing(NamedTuple):
    """A figure of the catalogue; where data lack, `draw` raises ValueError with the remedy."""

    draw: Draw
    title: str = ""  # what it shows, in a line, for its caption and `--help`
    examines: bool = False  # needs `Material.examined`: gradients are measured first, for minutes
    lengthy: bool = False  # takes a minute a checkpoint by itself: drawn only where it is asked for


def write_figure(name: str, drawn: Mapping[str, Drawn], folder: Path) -> dict[str, list[Path]]:
    """`name.svg`, `.png` and `.csv` by the picture's key; of several each has its key behind the name."""
    paths: dict[str, list[Path]] = {}
    for key, one in drawn.items():
        stem = name if len(drawn) == 1 else re.sub(r"[^\w.-]+", "_", f"{name} {key}")
        images = [folder / f"{stem}.{end}" for end in ("svg", "png")]
        for path in images:
            save(one.figure, path)
        paths[key] = [*images, write_table(folder / f"{stem}.csv", one.table)]
    return paths


def write_table(path: Path, rows: Sequence[Row]) -> Path:
    """Rows as CSV, whole or not at all; the path."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path
