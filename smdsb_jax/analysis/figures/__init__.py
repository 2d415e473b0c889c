"""The paper's figures by their numbers, and others: `FIGURES`. Each is a file, with its data as CSV."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smdsb_jax.analysis.figures.anm import anm
from smdsb_jax.analysis.figures.base import Draw, Drawing, Drawn, Material, Row, write_figure, write_table
from smdsb_jax.analysis.figures.conflict import conflict
from smdsb_jax.analysis.figures.confusions import confusions
from smdsb_jax.analysis.figures.cosines import cosines
from smdsb_jax.analysis.figures.dropping import dropping
from smdsb_jax.analysis.figures.embedding import embedding
from smdsb_jax.analysis.figures.group_losses import group_losses
from smdsb_jax.analysis.figures.label_shift import label_shift
from smdsb_jax.analysis.figures.saliency_levels import saliency_levels
from smdsb_jax.analysis.figures.sweeps import alpha, keep_ratio, keep_ratio_over_steps
from smdsb_jax.registry import FUNCTION, lookup

FIGURES: dict[str, Drawing] = {
    "fig1": Drawing(conflict, "gain and oracle cosine over skewness", examines=True),
    "fig3": Drawing(confusions, "confusion of runs side by side, and the gain of each class"),
    "fig4": Drawing(cosines, "how class, pretext task and oracle agree over training"),
    "fig5": Drawing(saliency_levels, "clouds of little and of much skewness", examines=True),
    "fig6": Drawing(group_losses, "losses of samples of little and of much skewness"),
    "fig7": Drawing(label_shift, "skewness under pseudo-labels and under true ones"),
    "fig8": Drawing(alpha, "accuracy over alpha of the saliency, of a sweep"),
    "fig9": Drawing(keep_ratio_over_steps, "accuracy over the kept share over training, of a sweep"),
    "fig10": Drawing(keep_ratio, "accuracy over the kept share in each direction, of a sweep"),
    "fig11": Drawing(embedding, "embeddings of both domains in two dimensions"),
    "anm": Drawing(anm, "does skewness look like the cause of conflict?", examines=True, lengthy=True),
    "dropping": Drawing(dropping, "accuracy as salient points are dropped: is the map right?"),
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

    captions: dict[Path, str]  # of each file, SVG, PNG and CSV
    notes: list[str]  # what the figures say in sentences, each with the figure's name

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return list(self.captions)


def draw(
    names: Sequence[str], material: Material, folder: Path, say: Callable[[str], Any] = print
) -> Written:
    """Draw the figures of these names; one that lacks its data is left out, with a line that says so.

    Raises:
      ValueError: no figure of this name (nothing has been drawn).
    """
    written = Written({}, [])
    for name, drawing in {name: find_figure(name) for name in names}.items():
        try:
            drawn = drawing.draw(material)
        except ValueError as error:
            say(f"Figure {name} is left out: {error}")
            continue
        paths = write_figure(name.rpartition(":")[2], drawn, folder)
        for key, one in drawn.items():
            where = f"{name}, {key}" if len(drawn) > 1 else name
            caption = f"{where}: {drawing.title}" if drawing.title else where
            written.captions.update(dict.fromkeys(paths[key], caption))
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
