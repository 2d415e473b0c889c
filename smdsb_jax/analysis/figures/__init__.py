"""The paper's figures by their numbers, and others: `FIGURES`. Each is a file, with its data as CSV."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smdsb_jax.analysis.figures.base import Draw, Drawing, Drawn, Material, Row, write_figure, write_table
from smdsb_jax.analysis.figures.conflict import conflict
from smdsb_jax.analysis.figures.cosines import cosines
from smdsb_jax.analysis.figures.group_losses import group_losses
from smdsb_jax.analysis.figures.saliency_levels import saliency_levels
from smdsb_jax.registry import FUNCTION, lookup

FIGURES: dict[str, Drawing] = {
    "fig1": Drawing(conflict, examines=True),  # does the selecting statistic tell who helps?
    "fig4": Drawing(cosines),  # do the tasks agree with each other and with the oracle, over training?
    "fig5": Drawing(saliency_levels, examines=True),  # what low and high skewness look like
    "fig6": Drawing(group_losses),  # is the loss of high skewness less stable?
}


def find_figure(name: str) -> Drawing:
    """The figure of this name, or a user's `package.module:function` of all material.

    Raises:
      ValueError: an unknown name, or what was imported is no function.
    """
    found: Drawing | Draw = lookup(FIGURES, name, "figure", FUNCTION)
    return found if isinstance(found, Drawing) else Drawing(found, examines=True)


class Written(NamedTuple):
    """What was drawn."""

    paths: list[Path]  # SVG, PNG and CSV
    notes: list[str]  # what the figures say in sentences, each with the figure's name


def draw(
    names: Sequence[str], material: Material, folder: Path, say: Callable[[str], Any] = print
) -> Written:
    """Draw the figures of these names; one that lacks its data is left out, with a line that says so.

    Raises:
      ValueError: no figure of this name (nothing has been drawn).
    """
    written = Written([], [])
    for name, drawing in {name: find_figure(name) for name in names}.items():
        try:
            drawn = drawing.draw(material)
        except ValueError as error:
            say(f"Figure {name} is left out: {error}")
            continue
        written.paths.extend(write_figure(name.rpartition(":")[2], drawn, folder))
        for key, one in drawn.items():
            where = f"{name}, {key}" if len(drawn) > 1 else name
            written.notes.extend(f"{where}: {note}" for note in one.notes)
    for note in written.notes:
        say(note)
    return written


__all__ = [
    "FIGURES",
    "Draw",
    "Drawing",
    "Drawn",
    "Material",
    "Row",
    "Written",
    "draw",
    "find_figure",
    "write_table",
]
