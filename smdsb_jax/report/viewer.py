"""Classified clouds to look through: a page with all of them in 3-D, and a picture of each one's saliency."""

import html
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt

from smdsb_jax.metrics import entropy
from smdsb_jax.report import pictures
from smdsb_jax.report.page import PathLike, encode, quantize_cloud, write_page

TEMPLATE, SCRIPT = (Path(__file__).with_name(name) for name in ("viewer.html", "viewer.js"))
STEM = 50  # letters of a cloud's name in that of its picture: file systems allow 255 bytes


class Classified(NamedTuple):
    """What a network makes of clouds."""

    names: Sequence[str]  # any text
    classes: Sequence[str]
    probability: Float[np.ndarray, "n classes"]
    points: Float[np.ndarray, "n p 3"]  # that the network got, z up
    saliency: Float[np.ndarray, "n p"]  # under the predicted class


def write_viewer(path: PathLike, note: str, classified: Classified) -> Path:
    """Write the page and return its path: a list of the clouds, and the chosen one in 3-D.

    It is one file of 5 MB and about 10 kB for each cloud of 1,024 points, and needs no network.

    Args:
      path: of the HTML file; its folder is made.
      note: what classified them, as plain text.
      classified: one cloud or more.
    """
    count = len(classified.names)
    title = f"{count:,} cloud{'s' * (count != 1)}, classified"
    parts = {"title": title, "note": html.escape(note)}
    return write_page(path, TEMPLATE, SCRIPT, viewer_data(classified), parts)


def viewer_data(classified: Classified) -> dict[str, Any]:
    """What the page reads."""
    folder = common_folder(classified.names)
    return {
        "levels": pictures.LEVELS,
        "folder": folder,
        "names": [name[len(folder) :] for name in classified.names],
        "classes": list(classified.classes),
        "probability": encode(classified.probability, "<f4"),
        "entropy": encode(entropy(classified.probability), "<f4"),
        "clouds": [(unit, encode(steps, "<i2")) for unit, steps in map(quantize_cloud, classified.points)],
        "saliency": [encode(quantize_share(saliency), "u1") for saliency in classified.saliency],
    }


def common_folder(names: Sequence[str]) -> str:
    """What all names begin with, up to a separator of folders and with it."""
    shared = os.path.commonprefix(list(names))  # noqa: RUF071, it is cut at a separator
    return shared[: max(shared.rfind(separator) for separator in ("/", os.sep)) + 1]


def quantize_share(saliency: Float[np.ndarray, " n"]) -> UInt[np.ndarray, " n"]:
    """Steps of 1/255 of the cloud's largest saliency, rounded down; what is negative counts as 0.

    255 is a multiple of 3, so the three levels of `pictures.saliency` can be told from the steps.
    """
    return np.floor(255 * pictures.share_of_largest(saliency)).astype(np.uint8)


def draw_predictions(
    folder: Path, classified: Classified, progress: Callable[[range], Iterable[int]] = iter
) -> list[Path]:
    """A picture of each cloud's saliency in the folder; returns their paths. `progress` wraps their numbers.

    The number in front keeps files of the same name in different folders apart.
    """
    written = []
    for number in progress(range(len(classified.names))):
        name, p = classified.names[number], classified.probability[number]
        title = f"{Path(name).name}\n{classified.classes[p.argmax()]}, {100 * p.max():.0f} %"
        path = folder / f"{number:04}_{picture_stem(name)}.png"
        each = slice(number, number + 1)
        pictures.saliency(path, classified.points[each], classified.saliency[each], [title])
        written.append(path)
    return written


def picture_stem(name: str) -> str:
    """`scan_3` of `folder/scan.h5[3]`, `chair` of `chair.npy`; no signs that some file systems refuse."""
    several = re.fullmatch(r"(.*)\[(\d+)\]", name, re.DOTALL)
    path, number = several.groups() if several else (name, "")
    stem = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", Path(path).stem)
    return stem[:STEM] + (f"_{number}" if number else "")
