"""Figure 1: gain of the update and cosine to the oracle, over the skewness of the samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from matplotlib.figure import Figure

from smdsb_jax.analysis.examined import DOMAINS, Examined
from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.ranks import mean_correlation, spearman
from smdsb_jax.report.pictures import COLORS, FAINT, INK, plain

AGREEMENT = {"gain": "gain of the update\n(cosine to the oracle)", "cos_o": "cosine to the\noracle gradient"}


class Bins(NamedTuple):
    """A measure over the quantiles of a score."""

    center: Float[np.ndarray, " bins"]  # mean score
    mean: Float[np.ndarray, " bins"]  # of the measure
    sem: Float[np.ndarray, " bins"]  # standard error of that mean; NaN in a bin of one cloud
    count: Int[np.ndarray, " bins"]


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


def conflict(material: Material) -> dict[str, Drawn]:
    """Gain and cosine over ten bins of skewness   [SM-DSB, arXiv:2504.15796, Fig. 1; conflict = −gain].

    One picture per group and stage, one line per seed (its checkpoints pooled), mean ± standard error. The
    rank correlation in the titles is the mean over checkpoints, each by itself.

    Raises:
      ValueError: no checkpoint has skewness and one of these measures.
    """
    examined = material.examined
    usable = [e for e in examined if "skewness" in e.scores and AGREEMENT.keys() & e.measures.keys()]
    if not usable:
        raise ValueError("it needs the statistic skewness and the measures gain, cos_o: examine with these.")
    groups: dict[str, list[Examined]] = {}
    for e in usable:
        groups.setdefault(f"{e.group}, stage {e.stage}", []).append(e)
    return {name: _conflict_figure(own, name) for name, own in groups.items()}


def _conflict_figure(examined: Sequence[Examined], title: str) -> Drawn:
    domains = [d for d in DOMAINS if any((e.domain == d).any() for e in examined)]
    measures = [m for m in AGREEMENT if any(m in e.measures for e in examined)]
    figure = Figure(figsize=(1.2 + 3.6 * len(domains), 1.1 + 2.7 * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), len(domains), squeeze=False, sharex="col", sharey="row")
    seeds, table = sorted({e.seed for e in examined}), list[Row]()
    for row, measure in zip(grid, measures, strict=True):
        for axes, domain in zip(row, domains, strict=True):
            for i, seed in enumerate(seeds):
                pairs = _pairs([e for e in examined if e.seed == seed], domain, measure)
                score, value, cloud = np.concatenate([np.zeros((3, 0)), *pairs], axis=1)
                bins = quantile_bins(score, value, cloud=cloud)
                of_line: Row = {"measure": measure, "domain": domain, "seed": seed}
                table += [of_line | one for one in _bin_rows(bins)]
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
    return Drawn(figure, table)


def _bin_rows(bins: Bins) -> list[dict[str, float]]:
    names = ("skewness", "mean", "standard_error", "clouds")
    return [dict(zip(names, map(float, one), strict=True)) for one in zip(*bins, strict=True)]


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
