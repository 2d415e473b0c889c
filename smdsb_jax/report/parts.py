"""Clouds whose points were told apart into parts: a table, one PLY file per cloud, pictures."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from plyfile import PlyData, PlyElement

from smdsb_jax.files import whole_file
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report import pictures

NAMED = 3  # parts of a cloud that a row of the table names


class Shares(NamedTuple):
    """How much of a cloud each part is."""

    name: str  # any text
    points: int
    share: Float[np.ndarray, " classes"]  # of the points
    sureness: float  # mean probability of the points' likeliest parts


class Segmented(NamedTuple):
    """What a network makes of the points of a cloud."""

    name: str  # any text
    classes: Sequence[str]
    points: Float[np.ndarray, "p 3"]  # as they were given
    probability: Float[np.ndarray, "p classes"]

    @property
    def label(self) -> Int[np.ndarray, " p"]:
        """The likeliest part of each point."""
        return self.probability.argmax(axis=1)

    @property
    def shares(self) -> Shares:
        """What is left of the cloud in tables."""
        count = np.bincount(self.label, minlength=len(self.classes))
        sureness = float(self.probability.max(axis=1).mean())
        return Shares(self.name, len(self.points), count / len(self.points), sureness)


def parts_table(classes: Sequence[str], found: Sequence[Shares]) -> str:
    """Markdown table of clouds: points, largest parts, mean probability."""
    rows = []
    for of in found:
        largest = [k for k in np.argsort(-of.share)[:NAMED] if of.share[k] > 0]
        parts = ", ".join(f"{classes[k]} {100 * of.share[k]:.0f} %" for k in largest)
        rows.append([of.name, f"{of.points:,}", parts, f"{100 * of.sureness:.1f}"])
    return markdown_table(["file", "points", "largest parts", "mean probability, %"], rows)


def write_parts_csv(path: Path, classes: Sequence[str], found: Sequence[Shares]) -> None:
    """One row per cloud: its points, the share of each part, the mean probability of the likeliest parts."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "points", *(f"share of {name}" for name in classes), "mean probability"])
        for of in found:
            writer.writerow([of.name, of.points, *(f"{x:.6f}" for x in of.share), f"{of.sureness:.6f}"])


def write_ply(path: Path, found: Segmented) -> None:
    """The points of a cloud, each with `label`, `probability` and color; comments name the labels."""
    label, probability = found.label, found.probability
    colors = pictures.part_colors(len(found.classes))(label, bytes=True)
    rows = np.empty(
        len(label),
        [*((axis, "f8") for axis in "xyz"), *((c, "u1") for c in ("red", "green", "blue")), ("label", "i4"),
         ("probability", "f4")],
    )  # fmt: skip
    columns = (*found.points.T, *colors[:, :3].T, label, probability.max(axis=1))
    for name, column in zip(rows.dtype.names or (), columns, strict=True):
        rows[name] = column
    comments = [f"label {k} {printed(name)}" for k, name in enumerate(found.classes)]
    with whole_file(path) as part:
        PlyData([PlyElement.describe(rows, "vertex")], comments=comments).write(str(part))


def draw_parts(path: Path, found: Segmented) -> None:
    """A picture of a cloud, each point in the color of its part."""
    title = f"{Path(found.name).name}\nmean probability {100 * found.shares.sureness:.0f} %"
    pictures.parts(path, found.points[None], {"predicted": found.label[None]}, found.classes, [title])


def printed(name: str) -> str:
    """A name that fits into a line of a PLY file's header."""
    return name.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")
