"""How well scores predict agreement: rank correlations, what selecting by a score is worth, intervals.

Every function takes `weight` [replicates, n]: how often each sample counts. Ones give the value itself, the
rows of `resample` its bootstrap; a value thus costs one sort, not one per replicate. Equal values share
their mean rank. Undefined values (constant scores, a NaN among them) are NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

Matrix = Float[np.ndarray, "variables n"]
Scores = Float[np.ndarray, "scores n"]
Measures = Float[np.ndarray, "measures n"]
Weight = Float[np.ndarray, "replicates n"]
Table = Float[np.ndarray, "replicates scores measures"]
KENDALL_REPLICATES = 500  # n^2 work each


def resample(
    samples: int, replicates: int, seed: int, cluster: Int[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, "replicates n"]:
    """How often each sample is drawn when as many are drawn with replacement, per replicate.

    Args:
      samples: n.
      replicates: rows.
      seed: of the drawing.
      cluster: where samples depend on those of their cluster (mini-batches coupled by BatchNorm), the
        clusters are drawn instead, whole.
    """
    random = np.random.default_rng(seed)
    names, of_sample = np.unique(np.arange(samples) if cluster is None else cluster, return_inverse=True)
    drawn = random.integers(len(names), size=(replicates, len(names)))
    counts = np.zeros((replicates, len(names)))
    np.add.at(counts, (np.arange(replicates)[:, None], drawn), 1.0)
    return counts[:, of_sample]


def ranks(values: Matrix, weight: Weight) -> Float[np.ndarray, "replicates variables n"]:
    """The rank of each value among the drawn ones, from 1; equal values share their mean rank."""
    return np.stack([_ranks(v, weight) for v in values], axis=1)


def _ranks(values: Float[np.ndarray, " n"], weight: Weight) -> Weight:
    if np.isnan(values).any():  # else it would rank above all
        return np.full_like(weight, np.nan)
    _, first, group = np.unique(np.sort(values), return_index=True, return_inverse=True)
    order = np.argsort(values, kind="stable")
    in_group = np.add.reduceat(weight[:, order], first, axis=1)
    group = group[np.argsort(order)]
    upto = np.cumsum(in_group, axis=1)
    return (upto - (in_group - 1) / 2)[:, group]


def spearman_table(scores: Scores, measures: Measures, weight: Weight) -> Table:
    """Spearman's correlation of every score with every measure."""
    together = _correlations(np.concatenate([scores, measures]), weight)
    return together[:, : len(scores), len(scores) :]


def spearman_and_partial(
    scores: Scores, measures: Measures, given: Matrix, weight: Weight
) -> tuple[Table, Table]:
    """Spearman's, and the partial one: of what a linear regression on the ranks of `given` leaves of them.

    The latter is NaN where nothing is left, as for a score that is itself among `given`.
    """
    s, m = len(scores), len(measures)
    c = _correlations(np.concatenate([scores, measures, given]), weight)
    plain = c[:, :s, s : s + m].copy()
    broken = ~np.isfinite(c[:, s + m :, s + m :])
    c[:, s + m :, s + m :][broken] = 0.0  # a constant covariate explains nothing
    c[:, : s + m, s + m :] = np.nan_to_num(c[:, : s + m, s + m :])
    inverse = np.linalg.pinv(c[:, s + m :, s + m :], rcond=1e-6, hermitian=True)
    explained = c[:, : s + m, s + m :] @ inverse @ np.swapaxes(c[:, : s + m, s + m :], 1, 2)
    left = c[:, : s + m, : s + m] - explained
    variance = np.einsum("rvv->rv", left)
    variance = np.where(variance > 1e-6, variance, np.nan)
    scale = np.sqrt(variance[:, :s, None] * variance[:, None, s:])
    return plain, left[:, :s, s:] / scale


def _correlations(values: Matrix, weight: Weight) -> Float[np.ndarray, "replicates variables variables"]:
    """Pearson's of the ranks."""
    out = np.empty((len(weight), len(values), len(values)))
    for start in range(0, len(weight), 250):  # 250 replicates of 30 variables and 1,024 samples: 60 MB
        part = slice(start, start + 250)
        w = weight[part, None, :]
        total = w.sum(-1, keepdims=True)
        r = ranks(values, weight[part])
        r = (r - (w * r).sum(-1, keepdims=True) / total) * np.sqrt(w)
        length = np.sqrt((r**2).sum(-1, keepdims=True))
        r = r / np.where(length > 1e-9, length, np.nan)
        out[part] = r @ np.swapaxes(r, 1, 2)
    return out


def permutations(
    samples: int, count: int, seed: int, cluster: Int[np.ndarray, " n"] | None = None
) -> Int[np.ndarray, "count n"]:
    """Random orders of the samples, each a row; where there are clusters, within these only."""
    _, of_sample = np.unique(np.zeros(samples) if cluster is None else cluster, return_inverse=True)
    drawn = np.argsort(of_sample + np.random.default_rng([seed, 1]).random((count, samples)), axis=1)
    orders = np.empty_like(drawn)
    orders[:, np.argsort(of_sample, kind="stable")] = drawn  # both are sorted by cluster
    return orders


def permuted_table(scores: Scores, measures: Measures, orders: Int[np.ndarray, "count n"]) -> Table:
    """Spearman's correlations, then those with the measures of each sample exchanged by each order."""
    once = np.ones((1, scores.shape[1]))
    of_scores, of_measures = (ranks(values, once)[0] for values in (scores, measures))
    for own in (of_scores, of_measures):
        own -= own.mean(axis=1, keepdims=True)
        length = np.sqrt((own**2).sum(axis=1, keepdims=True))
        own /= np.where(length > 1e-9, length, np.nan)
    out = np.empty((1 + len(orders), len(scores), len(measures)))
    out[0] = of_scores @ of_measures.T
    for start in range(0, len(orders), 1000):  # 1,000 orders of 7 measures and 256 samples: 14 MB
        part = orders[start : start + 1000]
        exchanged = of_measures[:, part].transpose(1, 2, 0)  # [orders, n, measures]
        out[1 + start : 1 + start + len(part)] = of_scores @ exchanged
    return out


def permutation_p(table: Table) -> Float[np.ndarray, "scores measures"]:
    """Two-sided p of the first replicate against the others: twice the smaller one-sided p.

    Both count the value itself, so that none is below 2 / (1 + permutations)   [Phipson & Smyth, Statistical
    Applications in Genetics and Molecular Biology 9 (2010) 39]. NaN where the value is.
    """
    value, null = table[0], table[1:]
    sides = [1 + (null >= value - 1e-9).sum(axis=0), 1 + (null <= value + 1e-9).sum(axis=0)]
    p = np.minimum(2 * np.minimum(*sides) / (1 + len(null)), 1.0)
    return np.where(np.isfinite(value), p, np.nan)


def kendall_table(scores: Scores, measures: Measures, weight: Weight) -> Table:
    """Kendall's τ_b of every score with every measure."""
    of_scores, of_measures = ([_signs(v) for v in values] for values in (scores, measures))
    weight = weight.astype(np.float32)
    pairs = lambda table: np.einsum("rn,rn->r", weight @ table, weight, dtype=np.float64)  # noqa: E731
    untied = [[pairs(np.abs(s)) for s in signs] for signs in (of_scores, of_measures)]
    out = np.empty((len(weight), len(scores), len(measures)))
    for i, a in enumerate(of_scores):
        for j, b in enumerate(of_measures):
            scale = np.sqrt(untied[0][i] * untied[1][j])
            out[:, i, j] = pairs(a * b) / np.where(scale > 0, scale, np.nan)
    return out


def _signs(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    return np.sign(values[:, None] - values[None, :]).astype(np.float32)


def kept_table(scores: Scores, measures: Measures, keep_ratio: float, side: str, weight: Weight) -> Table:
    """Mean measure of the kept samples minus that of all, in standard deviations of the measure.

    Kept is the `keep_ratio` of the drawn samples with the lowest (side `low`) or highest scores; where the
    limit falls into several draws of one sample, a part of them. The standard deviation is that of the
    samples themselves, so that measures of any unit, and checkpoints, compare. 0 is what random scores give.
    """
    spread = measures.std(axis=1)
    standard = measures / np.where(spread > 0, spread, np.nan)[:, None]
    total = weight.sum(axis=1, keepdims=True)
    mean = weight @ standard.T / total
    out = np.empty((len(weight), len(scores), len(measures)))
    for i, score in enumerate(scores):
        order = np.argsort(score if side == "low" else -score, kind="stable")
        drawn = weight[:, order]
        before = np.cumsum(drawn, axis=1) - drawn
        kept = np.clip(keep_ratio * total - before, 0, drawn)
        out[:, i] = kept @ standard[:, order].T / (keep_ratio * total) - mean
    return out


class Estimate(NamedTuple):
    """A mean over seeds, and how far it may be off."""

    value: Float[np.ndarray, "scores measures"]
    error: Float[np.ndarray, "scores measures"]  # standard error; NaN where it is not known
    freedom: Float[np.ndarray, "scores measures"]  # degrees of freedom of that error


def over_seeds(
    tables: Float[np.ndarray, "seeds replicates scores measures"], drawn: Int[np.ndarray, " measures"]
) -> Estimate:
    """The mean over seeds, of which both the seeds and the clouds are a sample (crossed random effects).

    error² = A + B and freedom = error⁴ / (A² / (C - 1) + B² / (S - 1)), where A = C / (C - 1) times the
    variance over replicates of the mean over seeds, and B = 1 / S times the variance over seeds (0 for one
    seed). A replicate draws the same clouds for all seeds: what seeds share is not averaged away. Seeds are
    not drawn: S - 1 of 2 to 5 deserve Student's t, and their bootstrap is too narrow by (S - 1) / S besides.
    What a seed makes of a cloud is in A and in B, so that the interval is rather too wide than too narrow.
    [crossed samples: Owen, Annals of Applied Statistics 1 (2007) 386; freedom: Satterthwaite, Biometrics
    Bulletin 2 (1946) 110]

    Args:
      tables: of each seed the value itself, then its replicates; row r of all seeds has drawn the same.
      drawn: C, how many clouds (or mini-batches, drawn whole) a replicate draws, by measure.
    """
    replicates = tables[:, 1:].mean(axis=0)
    defined = np.isfinite(replicates).mean(axis=0) >= 0.5
    clouds = np.nanvar(np.where(defined, replicates, 0.0), axis=0) * drawn / (drawn - 1)
    clouds = np.where(defined, clouds, np.nan)
    between, value = max(len(tables) - 1, 1), tables[:, 0].mean(axis=0)
    seeds = ((tables[:, 0] - value) ** 2).sum(axis=0) / between / len(tables)
    terms = clouds**2 / (drawn - 1) + seeds**2 / between
    freedom = np.divide((clouds + seeds) ** 2, terms, out=np.ones_like(terms), where=terms > 0)
    return Estimate(value, np.sqrt(clouds + seeds), freedom)


def bounds(
    estimate: Estimate, level: float | Float[np.ndarray, " measures"] = 0.95
) -> tuple[Float[np.ndarray, "scores measures"], Float[np.ndarray, "scores measures"]]:
    """Value ± t · error, t the quantile of Student's distribution; NaN where the error is not known."""
    half = scipy.stats.t.ppf((1 + level) / 2, estimate.freedom) * estimate.error
    return estimate.value - half, estimate.value + half


def atanh(correlations: np.ndarray) -> np.ndarray:
    """Fisher's transform up to ±0.9999: closer to ±1 the ties of a resample would make all of its spread."""
    return np.arctanh(np.clip(correlations, -0.9999, 0.9999))


def mean_correlation(correlations: Sequence[float] | Float[np.ndarray, " n"]) -> float:
    """By the mean of their atanh."""
    return float(np.tanh(atanh(np.asarray(correlations)).mean()))


def spearman(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Spearman's correlation of two variables; NaN where one of them is constant."""
    return float(spearman_table(a[None], b[None], np.ones((1, len(a))))[0, 0, 0])


def weighted_spearman(
    score: Float[np.ndarray, " n"], accuracy: Float[np.ndarray, " n"], weighted_ranks: bool = False
) -> float:
    """Spearman's correlation in which what ranks high in either variable counts most; 0 for a constant one.

    The weight is the square of the larger of both dense ranks over their maxima.
    [Musgrave et al., arXiv:2208.07360; for validators]

    Args:
      score: finite.
      accuracy: finite.
      weighted_ranks: ranks are the cumulated weights below a value plus the mean rank within its ties, as the
        paper's package has it; else equal values share their mean rank.
    """
    if np.ptp(score) == 0 or np.ptp(accuracy) == 0:
        return 0.0
    pair = (score, accuracy)
    dense = np.stack([scipy.stats.rankdata(values, method="dense") for values in pair])
    weight = (dense / dense.max(axis=1, keepdims=True)).max(axis=0) ** 2
    if weighted_ranks:
        rank = np.stack([_weighted_ranks(values, weight) for values in pair])
    else:
        rank = np.stack([scipy.stats.rankdata(values) for values in pair])
    covariance = np.cov(rank, aweights=weight, ddof=0)
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def _weighted_ranks(values: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]) -> np.ndarray:
    below = (weight[None, :] * (values[None, :] < values[:, None])).sum(axis=1)
    ties = values[None, :] == values[:, None]
    count = ties.sum(axis=1)
    return below + (count + 1) / 2 * (weight[None, :] * ties).sum(axis=1) / count
