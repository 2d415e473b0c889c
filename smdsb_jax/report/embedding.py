"""Embeddings of both domains in two dimensions: a map by t-SNE, and how it is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from threadpoolctl import threadpool_limits

from smdsb_jax.datasets.domain import UNLABELLED
from smdsb_jax.report.pictures import INK, PathLike, part_colors, save

PERPLEXITY, COMPONENTS = 30.0, 50
MARKS = {"source": "o", "target": "^"}
WITHOUT = "#9A9A9A"  # of clouds without a label
Features = Float[np.ndarray, "n d"]
Places = Float[np.ndarray, "n 2"]


def spread_rows(count: int, most: int) -> Int[np.ndarray, " rows"]:
    """At most `most` of so many rows, evenly over them: of a split that is sorted by class all classes."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def unit_length(features: Float[np.ndarray, "n d"]) -> Features:
    """Each embedding divided by its length, as float64; 0 stays 0."""
    exact = features.astype(np.float64)
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)


def tsne(features: Features) -> Places:
    """The map, the same bits for the same features.

    Of 50 principal components, perplexity 30 (a third of the points where these are few), from the first two
    components   [van der Maaten & Hinton, JMLR 9 (2008)]. All points at 0 where the features are all alike.
    """
    from sklearn.decomposition import PCA  # here: it takes seconds to import
    from sklearn.manifold import TSNE

    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), 2))
    with threadpool_limits(limits=1):  # sums in one order; and threads wait longer than they work here
        count = min(COMPONENTS, *features.shape)
        reduced = PCA(count, svd_solver="full").fit_transform(features)
        perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
        return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)


def draw_places(
    axes: Axes,
    title: str,
    place: Places,
    label: Int[np.ndarray, " n"],
    domain: Shaped[np.ndarray, " n"],
    classes: Sequence[str],
) -> None:
    """A map: colors are classes (gray without a label), marks domains, the target's filled."""
    colors = part_colors(len(classes))(range(len(classes)))
    for of, mark in MARKS.items():
        for k in (UNLABELLED, *range(len(classes))):
            x, y = place[(domain == of) & (label == k)].T
            color = WITHOUT if k == UNLABELLED else colors[k]
            face = color if of == "target" else "none"
            axes.scatter(x, y, s=24, marker=mark, linewidths=1.1, facecolors=face, edgecolors=color)
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")


def add_legend(figure: Figure, classes: Sequence[str], domains: Sequence[str], without: bool) -> None:
    """Classes by color and both domains by mark, right of all axes; gray where some are `without` a label."""
    line: dict[str, Any] = {"linestyle": "", "markersize": 7}
    colors = [*part_colors(len(classes))(range(len(classes))), *[WITHOUT] * without]
    marks = [Line2D([], [], color=color, marker="s", **line) for color in colors]
    marks += [
        Line2D([], [], color=INK, marker=mark, fillstyle="full" if of == "target" else "none", **line)
        for of, mark in MARKS.items()
    ]
    texts = [*classes, *["no label"] * without, *domains]
    figure.legend(marks, texts, loc="outside right center", frameon=False, fontsize=10, labelcolor=INK)


def embeddings(
    path: PathLike,
    panels: Mapping[str, Features],
    label: Int[np.ndarray, " n"],
    domain: Shaped[np.ndarray, " n"],
    classes: Sequence[str],
    domains: Sequence[str],
    heading: str,
) -> None:
    """Maps of the same clouds side by side.

    Args:
      path: of the picture.
      panels: title → embeddings of the clouds by one network.
      label: of the clouds, or UNLABELLED.
      domain: `source` or `target`, of each.
      classes: of the labels.
      domains: names of source and target.
      heading: above all.
    """
    figure = Figure(figsize=(1.8 + 5.2 * len(panels), 5.4), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, features) in zip(row, panels.items(), strict=True):
        draw_places(axes, title, tsne(unit_length(features)), label, domain, classes)
    add_legend(figure, classes, domains, bool((label == UNLABELLED).any()))
    figure.suptitle(heading, fontsize=13, color=INK)
    save(figure, path)
