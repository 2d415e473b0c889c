"""Clouds whose points were told apart into parts: a table, one PLY file per cloud, pictures."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from plyfile import PlyData, PlyElement

from smdsb_jax.files import whole_file
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report import pictures
from smdsb_jax.report.viewer import picture_stem

NAMED = 3  # parts of a cloud that a row of the table names


class Segmented(NamedTuple):
    """What a network makes of the points of clouds."""

    names: Sequence[str]  # any text
    classes: Sequence[str]
    points: Sequence[Float[np.ndarray, "_ 3"]]  # of each cloud, as it was given
    probability: Sequence[Float[np.ndarray, "_ classes"]]  # of each point of it

    def label(self, number: int) -> Int[np.ndarray, " p"]:
        """The likeliest part of each point of a cloud."""
        return self.probability[number].argmax(axis=1)

    def share(self, number: int) -> Float[np.ndarray, " classes"]:
        """The share that each part has of a cloud's points."""
        label = self.label(number)
        return np.bincount(label, minlength=len(self.classes)) / len(label)

    def sureness(self, number: int) -> float:
        """Mean probability of the likeliest parts."""
        return float(self.probability[number].max(axis=1).mean())


def parts_table(found: Segmented, shown: int) -> str:
    """Markdown table of the first clouds: points, largest parts, mean probability."""
    rows = []
    for number, name in enumerate(found.names[:shown]):
        share = found.share(number)
        largest = [k for k in np.argsort(-share)[:NAMED] if share[k] > 0]
        parts = ", ".join(f"{found.classes[k]} {100 * share[k]:.0f} %" for k in largest)
        rows.append([name, f"{len(found.points[number]):,}", parts, f"{100 * found.sureness(number):.1f}"])
    return markdown_table(["file", "points", "largest parts", "mean probability, %"], rows)


def write_parts_csv(path: Path, found: Segmented) -> None:
    """One row per cloud: its points, the share of each part, the mean probability of the likeliest parts."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        shares = (f"share of {name}" for name in found.classes)
        writer.writerow(["file", "points", *shares, "mean probability"])
        for number, name in enumerate(found.names):
            share = (f"{x:.6f}" for x in found.share(number))
            writer.writerow([name, len(found.points[number]), *share, f"{found.sureness(number):.6f}"])


def write_ply(path: Path, found: Segmented, number: int) -> Path:
    """The points of a cloud, each with `label`, `probability` and color; comments name the labels."""
    label, probability = found.label(number), found.probability[number]
    colors = pictures.part_colors(len(found.classes))(label, bytes=True)
    rows = np.empty(
        len(label),
        [*((axis, "f8") for axis in "xyz"), *((c, "u1") for c in ("red", "green", "blue")), ("label", "i4"),
         ("probability", "f4")],
    )  # fmt: skip
    columns = (*found.points[number].T, *colors[:, :3].T, label, probability.max(axis=1))
    for name, column in zip(rows.dtype.names or (), columns, strict=True):
        rows[name] = column
    comments = [f"label {k} {printed(name)}" for k, name in enumerate(found.classes)]
    with whole_file(path) as part:
        PlyData([PlyElement.describe(rows, "vertex")], comments=comments).write(str(part))
    return path


def write_clouds(
    folder: Path, found: Segmented, write: Callable[[Path, Segmented, int], Path], suffix: str,
    progress: Callable[[range], Iterable[int]] = iter,
) -> list[Path]:  # fmt: skip
    """`write` for each cloud; the number in front keeps files of the same name in different folders apart."""
    return [
        write(folder / f"{number:04}_{picture_stem(found.names[number])}{suffix}", found, number)
        for number in progress(range(len(found.names)))
    ]


def draw_parts(path: Path, found: Segmented, number: int) -> Path:
    """A picture of a cloud, each point in the color of its part."""
    labels = {"predicted": found.label(number)[None]}
    title = f"{Path(found.names[number]).name}\nmean probability {100 * found.sureness(number):.0f} %"
    pictures.parts(path, found.points[number][None], labels, found.classes, [title])
    return path


def printed(name: str) -> str:
    """A name that fits into a line of a PLY file's header."""
    return name.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")
