"""Figure 5: clouds of little and of much skewness, their points in three levels of saliency."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from smdsb_jax.analysis.examined import SOURCE, TARGET, Examined
from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.report.pictures import INK, LEVEL_NAMES, LEVELS, draw_cloud, saliency_scale

SIZES, COLUMNS = np.array([4.0, 8.0, 16.0]), 4  # points² by level; clouds in a row: two classes


def saliency_level(saliency: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """0, 1 or 2: the third of [0, max of the map] in which a point lies; 0 where it is negative.

    clip(floor(3 s / R), 0, 2), R = max(s); all 0 where R ≤ 0   [SM-DSB, arXiv:2504.15796, Fig. 5]
    """
    top = saliency.max(initial=0.0)
    thirds = 3 * saliency / top if top > 0 else np.zeros_like(saliency)
    return np.clip(np.floor(thirds), 0, 2).astype(int)


def saliency_levels(material: Material) -> dict[str, Drawn]:
    """Per class the shown clouds of least and most skewness   [SM-DSB, arXiv:2504.15796, Fig. 5].

    One picture per group: its last checkpoint of the lowest seed; source samples, or target where no two
    source samples of a class are shown. The titles tell the tenth of the class in which the skewness lies.

    Raises:
      ValueError: no checkpoint has skewness and two clouds of one class.
    """
    last: dict[str, Examined] = {}
    for e in sorted(material.examined, key=lambda e: (-e.seed, e.stage, e.step)):
        if _extremes(e):
            last[e.group] = e
    if not last:
        raise ValueError("it needs the statistic skewness and two clouds of a class: examine more samples.")
    return {group: _levels_figure(e) for group, e in last.items()}


def _extremes(e: Examined) -> list[int]:
    """Positions in `e.shown`: least, most skewed source (else target) sample of a class, of the next, …."""
    for domain in (SOURCE, TARGET) if "skewness" in e.scores else ():
        own = [(e.domain[e.shown] == domain) & (e.label[e.shown] == k) for k in range(len(e.classes))]
        at = [np.flatnonzero(mask) for mask in own if mask.sum() > 1]
        ordered = [a[np.argsort(e.scores["skewness"][e.shown[a]])] for a in at]
        if ordered:
            return [int(a[i]) for a in ordered for i in (0, -1)]
    return []


def _levels_figure(e: Examined) -> Drawn:
    clouds, table = _extremes(e), list[Row]()
    shape = (-(-len(clouds) // COLUMNS), min(COLUMNS, len(clouds)))
    figure = Figure(figsize=(2.9 * shape[1], 0.9 + 3.2 * shape[0]), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False).ravel()
    for axes, at in zip(grid, clouds, strict=False):
        level = saliency_level(e.saliency[at])
        table.append(_level_row(e, at, level))
        draw_cloud(axes, e.points[at], level / 2, ListedColormap(LEVELS), 45.0, 20.0, SIZES[level])
        axes.collections[0].set_rasterized(True)  # a thousand points as vectors would be a megabyte
        axes.set_title(_level_title(e, at, level), fontsize=10, color=INK)
    for axes in grid[len(clouds) :]:
        axes.set_axis_off()
    of = f"{e.domain[e.shown[clouds[0]]]}, least and most skewed of each class; points per level"
    figure.suptitle(f"{e.name}\n{of}", fontsize=13, color=INK)
    saliency_scale(figure, grid, ListedColormap(LEVELS))
    return Drawn(figure, table)


def _level_row(e: Examined, at: int, level: Int[np.ndarray, " n"]) -> Row:
    row = e.shown[at]
    counts = dict(zip(LEVEL_NAMES, map(int, np.bincount(level, minlength=3)), strict=True))
    of_cloud = {"index": int(e.index[row]), "class": e.classes[e.label[row]], "domain": str(e.domain[row])}
    return {**of_cloud, "skewness": float(e.scores["skewness"][row]), **counts}


def _level_title(e: Examined, at: int, level: Int[np.ndarray, " n"]) -> str:
    row = e.shown[at]
    skewness = e.scores["skewness"]
    of_class = skewness[(e.domain == e.domain[row]) & (e.label == e.label[row])]
    tenth = 1 + min(9, int(10 * np.mean(of_class < skewness[row])))
    counts = " / ".join(map(str, np.bincount(level, minlength=3)))
    name = f"{e.classes[e.label[row]]}, skewness {skewness[row]:.2f}"
    return f"{name}\ntenth {tenth} of class; {counts}"
