"""Figures of the paper from examined checkpoints, each as SVG and PNG."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from smdsb_jax.analysis.examined import DOMAINS, SOURCE, TARGET, Examined
from smdsb_jax.analysis.ranks import mean_correlation, spearman
from smdsb_jax.registry import FUNCTION, lookup
from smdsb_jax.report.pictures import COLORS, FAINT, INK, LEVELS, draw_cloud, legend_of_levels, plain, save

PathLike = str | os.PathLike[str]
Draw = Callable[[Sequence[Examined], PathLike], list[Path]]
AGREEMENT = {"gain": "gain of the update\n(cosine to the oracle)", "cos_o": "cosine to the\noracle gradient"}
SIZES, COLUMNS = np.array([4.0, 8.0, 16.0]), 4  # points² by level; clouds in a row: two classes


class Bins(NamedTuple):
    """A measure over the quantiles of a score."""

    center: Float[np.ndarray, " bins"]  # mean score
    mean: Float[np.ndarray, " bins"]  # of the measure
    sem: Float[np.ndarray, " bins"]  # standard error of that mean; NaN in a bin of one cloud
    count: Int[np.ndarray, " bins"]


def draw(names: Sequence[str], examined: Sequence[Examined], folder: PathLike) -> list[Path]:
    """Draw the figures of these names, of `FIGURES` or your own as `package.module:name`.

    Raises:
      ValueError: no figure of this name (nothing has been drawn), or its data are missing.
    """
    drawing = [lookup(FIGURES, name, "figure", FUNCTION) for name in names]
    return [path for figure in drawing for path in figure(examined, folder)]


def quantile_bins(
    score: Float[np.ndarray, " n"],
    measure: Float[np.ndarray, " n"],
    bins: int = 10,
    cloud: Num[np.ndarray, " n"] | None = None,
) -> Bins:
    """Cut the samples into bins of equal count by score; fewer bins where there are fewer samples.

    Pairs with a value that is not finite are left out. Samples of one `cloud` (looked at by several
    checkpoints) count together in the standard error; it takes clouds as independent, which those of one
    mini-batch are only nearly. None: every sample is a cloud of its own.
    """
    cloud = np.arange(len(score)) if cloud is None else cloud
    known = np.flatnonzero(np.isfinite(score) & np.isfinite(measure))
    order = known[np.argsort(score[known], kind="stable")]
    parts = [part for part in np.array_split(order, bins) if len(part)]
    count = np.array([len(part) for part in parts], int)
    center, mean = (np.array([v[p].mean() for p in parts], float) for v in (score, measure))
    return Bins(center, mean, np.array([_standard_error(measure[p], cloud[p]) for p in parts], float), count)


def _standard_error(values: Float[np.ndarray, " n"], cloud: Num[np.ndarray, " n"]) -> float:
    """Of the mean: sqrt(C / (C - 1) Σ_clouds (Σ deviations)²) / n   [Liang & Zeger, Biometrika 73 (1986)]."""
    names, of = np.unique(cloud, return_inverse=True)
    if len(names) < 2:
        return np.nan
    deviations = np.bincount(of, values - values.mean())
    return float(np.sqrt(len(names) / (len(names) - 1) * np.sum(deviations**2)) / len(values))


def saliency_level(saliency: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """0, 1 or 2: the third of [0, max of the map] in which a point lies; 0 where it is negative.

    clip(floor(3 s / R), 0, 2), R = max(s); all 0 where R ≤ 0   [SM-DSB, arXiv:2504.15796, Fig. 5]
    """
    top = saliency.max(initial=0.0)
    thirds = 3 * saliency / top if top > 0 else np.zeros_like(saliency)
    return np.clip(np.floor(thirds), 0, 2).astype(int)


def conflict(examined: Sequence[Examined], folder: PathLike) -> list[Path]:
    """Gain and cosine over ten bins of skewness   [SM-DSB, arXiv:2504.15796, Fig. 1; conflict = −gain].

    One file per group and stage, one line per seed (its checkpoints pooled), mean ± standard error. The
    rank correlation in the titles is the mean over checkpoints, each by itself.

    Raises:
      ValueError: no checkpoint has skewness and one of these measures.
    """
    usable = [e for e in examined if "skewness" in e.scores and AGREEMENT.keys() & e.measures.keys()]
    if not usable:
        raise ValueError(
            "figure 'conflict' has no data: examine with the statistic skewness and the measures gain, cos_o."
        )
    groups: dict[str, list[Examined]] = {}
    for e in usable:
        groups.setdefault(f"{e.group}, stage {e.stage}", []).append(e)
    return _write("conflict", {name: _conflict_figure(own, name) for name, own in groups.items()}, folder)


def _conflict_figure(examined: Sequence[Examined], title: str) -> Figure:
    domains = [d for d in DOMAINS if any((e.domain == d).any() for e in examined)]
    measures = [m for m in AGREEMENT if any(m in e.measures for e in examined)]
    figure = Figure(figsize=(1.2 + 3.6 * len(domains), 1.1 + 2.7 * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), len(domains), squeeze=False, sharex="col", sharey="row")
    seeds = sorted({e.seed for e in examined})
    for row, measure in zip(grid, measures, strict=True):
        for axes, domain in zip(row, domains, strict=True):
            for i, seed in enumerate(seeds):
                pairs = _pairs([e for e in examined if e.seed == seed], domain, measure)
                score, value, cloud = np.concatenate([np.zeros((3, 0)), *pairs], axis=1)
                bins = quantile_bins(score, value, cloud=cloud)
                axes.errorbar(
                    bins.center, bins.mean, np.nan_to_num(bins.sem), color=COLORS[i % len(COLORS)],
                    marker="o", markersize=4, linewidth=1.6, elinewidth=1, label=f"seed {seed}",
                )  # fmt: skip
            rho = _rank_correlation(_pairs(examined, domain, measure))
            x = "skewness, mean of each tenth" if measure == measures[-1] else ""
            plain(axes, f"{domain}: Spearman {rho:.2f}", x, "")
            axes.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
            axes.grid(color=FAINT, linewidth=0.8)
        row[0].set_ylabel(AGREEMENT[measure])
    figure.suptitle(title, fontsize=13, color=INK)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
    return figure


def _pairs(examined: Sequence[Examined], domain: str, measure: str) -> list[Float[np.ndarray, "3 n"]]:
    """Skewness, measure and cloud of the domain's samples, per checkpoint, where all are finite."""
    having = [e for e in examined if measure in e.measures]
    columns = [np.stack([e.scores["skewness"], e.measures[measure], e.index]) for e in having]
    pairs = [rows[:, e.domain == domain] for rows, e in zip(columns, having, strict=True)]
    return [pair[:, np.isfinite(pair).all(axis=0)] for pair in pairs]


def _rank_correlation(pairs: Sequence[Float[np.ndarray, "3 n"]]) -> float:
    """Of all checkpoints: Spearman's ρ, averaged as atanh ρ; NaN where none has one."""
    rho = [spearman(*pair[:2]) for pair in pairs if pair.shape[1] > 2]
    known = [value for value in rho if np.isfinite(value)]
    return mean_correlation(known) if known else np.nan


def saliency_levels(examined: Sequence[Examined], folder: PathLike) -> list[Path]:
    """Per class the shown clouds of least and most skewness   [SM-DSB, arXiv:2504.15796, Fig. 5].

    One file per group: its last checkpoint of the lowest seed; source samples, or target where no two source
    samples of a class are shown. The titles tell the tenth of the class in which the skewness lies.

    Raises:
      ValueError: no checkpoint has skewness and two clouds of one class.
    """
    last: dict[str, Examined] = {}
    for e in sorted(examined, key=lambda e: (-e.seed, e.stage, e.step)):
        if _extremes(e):
            last[e.group] = e
    if not last:
        raise ValueError(
            "figure 'saliency_levels' has no data: examine with the statistic skewness and show more samples."
        )
    return _write("saliency_levels", {group: _levels_figure(e) for group, e in last.items()}, folder)


def _extremes(e: Examined) -> list[int]:
    """Positions in `e.shown`: least, most skewed source (else target) sample of a class, of the next, …."""
    for domain in (SOURCE, TARGET) if "skewness" in e.scores else ():
        own = [(e.domain[e.shown] == domain) & (e.label[e.shown] == k) for k in range(len(e.classes))]
        at = [np.flatnonzero(mask) for mask in own if mask.sum() > 1]
        ordered = [a[np.argsort(e.scores["skewness"][e.shown[a]])] for a in at]
        if ordered:
            return [int(a[i]) for a in ordered for i in (0, -1)]
    return []


def _levels_figure(e: Examined) -> Figure:
    clouds = _extremes(e)
    shape = (-(-len(clouds) // COLUMNS), min(COLUMNS, len(clouds)))
    figure = Figure(figsize=(2.9 * shape[1], 0.9 + 3.2 * shape[0]), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False).ravel()
    for axes, at in zip(grid, clouds, strict=False):
        level = saliency_level(e.saliency[at])
        draw_cloud(axes, e.points[at], level / 2, ListedColormap(LEVELS), 45.0, 20.0, SIZES[level])
        axes.collections[0].set_rasterized(True)  # a thousand points as vectors would be a megabyte
        axes.set_title(_level_title(e, at, level), fontsize=10, color=INK)
    for axes in grid[len(clouds) :]:
        axes.set_axis_off()
    of = f"{e.domain[e.shown[clouds[0]]]}, least and most skewed of each class; points per level"
    figure.suptitle(f"{e.name}\n{of}", fontsize=13, color=INK)
    legend_of_levels(figure)
    return figure


def _level_title(e: Examined, at: int, level: Int[np.ndarray, " n"]) -> str:
    row = e.shown[at]
    skewness = e.scores["skewness"]
    of_class = skewness[(e.domain == e.domain[row]) & (e.label == e.label[row])]
    tenth = 1 + min(9, int(10 * np.mean(of_class < skewness[row])))
    counts = " / ".join(map(str, np.bincount(level, minlength=3)))
    name = f"{e.classes[e.label[row]]}, skewness {skewness[row]:.2f}"
    return f"{name}\ntenth {tenth} of class; {counts}"


def _write(name: str, figures: Mapping[str, Figure], folder: PathLike) -> list[Path]:
    """`name.svg` and `.png`; of several figures each with its key behind the name."""
    stems = {key: name if len(figures) == 1 else re.sub(r"[^\w.-]+", "_", f"{name} {key}") for key in figures}
    paths = {Path(folder) / f"{stems[key]}.{end}": key for key in figures for end in ("svg", "png")}
    for path, key in paths.items():
        save(figures[key], path)
    return list(paths)


FIGURES: dict[str, Draw] = {
    "conflict": conflict,  # does the selecting statistic tell who helps? the paper's figure 1
    "saliency_levels": saliency_levels,  # what low and high skewness look like: its figure 5
}
