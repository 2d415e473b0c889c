"""The leaderboard: how well every statistic predicts every measure of agreement, with intervals."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.analysis import ranks
from smdsb_jax.analysis.examined import DOMAINS, Examined
from smdsb_jax.analysis.oracle import REFERENCES
from smdsb_jax.statistics import STATISTICS, find_statistic

Row = dict[str, str | int | float | None]
Tables = dict[str, Float[np.ndarray, "replicates scores measures"]]  # first replicate: the value itself
COUPLED = ("dot_o", "dot_c", "loo1")  # samples of one mini-batch share its statistics: batches are drawn
PERMUTATIONS = 9999  # the smallest p is 2 in 10,000
LEAST_DRAWN = 5  # of fewer mini-batches the bootstrap knows too little
CORRELATIONS = ("spearman", "kendall", "partial")


def leaderboard(
    examined: Sequence[Examined],
    keep_ratio: float = 0.7,
    replicates: int = 2000,
    seed: int = 0,
    tick: Callable[[str], Any] = lambda what: None,
) -> list[Row]:
    """A row for every group, stage, step, domain, statistic and measure.

    `rank` is the statistic's among all, by the size of `spearman`, from 1; None of the references and of
    constant scores. `spearman`, `kendall` (τ_b) and `partial` (Spearman's given loss and confidence) are of
    score and measure: a negative one says that low scores agree. `kept_low` and `kept_high` are the mean
    measure of the `keep_ratio` of samples with the lowest or highest scores minus that of all, in standard
    deviations of the measure. Each has the bounds of a 95 % interval, over samples (mini-batches where
    BatchNorm couples them; NaN where those are fewer than 5) and, where a group has several seeds, over
    seeds, all of which see the same samples drawn (`ranks.over_seeds`); checkpoints with other samples have
    theirs drawn apart. Correlations are averaged, and their intervals made, as atanh. `spearman_best_low95`
    and `spearman_best_high95` bound whichever of the k statistics is picked for its correlation with the
    measure: the level is 1 - 0.05 / k   [Bonferroni; k without the references]. `p_permutation` is of
    `spearman`, two-sided, against 9,999 exchanges of samples, within mini-batches where these couple them,
    and the same in all seeds of the same samples. It is at least 0.0002, and of that statistic, not of the
    best.

    Raises:
      ValueError: checkpoints of one group with different statistics.
    """
    groups: dict[tuple[str, int, int], list[Examined]] = {}
    for e in examined:
        groups.setdefault((e.group, e.stage, e.step), []).append(e)
    rows = []
    for (group, stage, step), seeds in groups.items():
        if len({tuple(e.scores) for e in seeds}) > 1:
            raise ValueError(f"{group}: its checkpoints were scored with different statistics.")
        for domain in DOMAINS:
            tables = []
            for e in seeds:
                first = next(i for i, other in enumerate(seeds) if _same_samples(e, other, domain))
                tables.append(_tables(e, domain, keep_ratio, replicates, seed + first))
                tick("intervals")  # a checkpoint in one domain
            key: Row = {"group": group, "stage": stage, "step": step, "domain": domain}
            drawn = np.min([_drawn(e, domain) for e in seeds], axis=0)
            rows += _rows(key, seeds[0], tables, drawn, int((seeds[0].domain == domain).sum()))
    return rows


def _same_samples(one: Examined, other: Examined, domain: str) -> bool:
    """Whether the same clouds in the same mini-batches."""
    first, second = (np.stack([e.index, e.batch])[:, e.domain == domain] for e in (one, other))
    return np.array_equal(first, second)


def _drawn(e: Examined, domain: str) -> Int[np.ndarray, " measures"]:
    """How many clouds, or mini-batches where they are coupled, a replicate draws."""
    batch = e.batch[e.domain == domain]
    return np.array([len(np.unique(batch)) if name in COUPLED else len(batch) for name in e.measures])


def _tables(e: Examined, domain: str, keep_ratio: float, replicates: int, seed: int) -> Tables:
    """All statistics against all measures of one checkpoint in one domain."""
    here = e.domain == domain
    stacked = [np.stack([v[here] for v in of.values()]) for of in (e.scores, e.measures, e.covariates)]
    scores, measures, given = (a.astype(np.float64) for a in stacked)
    tables: Tables = {"permuted": np.empty((1 + PERMUTATIONS, len(scores), len(measures)))}
    for coupled in (True, False):
        of_kind = [i for i, name in enumerate(e.measures) if (name in COUPLED) == coupled]
        if not of_kind:
            continue
        clusters = e.batch[here] if coupled else None
        drawn = ranks.resample(int(here.sum()), replicates, seed, clusters)
        orders = ranks.permutations(int(here.sum()), PERMUTATIONS, seed, clusters)
        tables["permuted"][:, :, of_kind] = ranks.permuted_table(scores, measures[of_kind], orders)
        weight = np.concatenate([np.ones((1, here.sum())), drawn])
        for name, table in _correlate(scores, measures[of_kind], given, keep_ratio, weight).items():
            whole = tables.setdefault(name, np.full((len(table), len(scores), len(measures)), np.nan))
            whole[: len(table), :, of_kind] = table
    return tables


def _correlate(
    scores: Float[np.ndarray, "scores n"],
    measures: Float[np.ndarray, "measures n"],
    given: Float[np.ndarray, "covariates n"],
    keep_ratio: float,
    weight: Float[np.ndarray, "replicates n"],
) -> Tables:
    some = weight[: 1 + ranks.KENDALL_REPLICATES]
    spearman, partial = ranks.spearman_and_partial(scores, measures, given, weight)
    return {
        "spearman": spearman,
        "kendall": ranks.kendall_table(scores, measures, some),
        "partial": partial,
        "kept_low": ranks.kept_table(scores, measures, keep_ratio, "low", weight),
        "kept_high": ranks.kept_table(scores, measures, keep_ratio, "high", weight),
    }


def _rows(
    key: Row, first: Examined, tables: Sequence[Tables], drawn: Int[np.ndarray, " measures"], samples: int
) -> list[Row]:
    """The rows of one group and domain from the tables of its seeds."""
    permuted = np.mean([ranks.atanh(t["permuted"]) for t in tables], axis=0)
    stacked = {name: np.stack([t[name] for t in tables]) for name in tables[0] if name != "permuted"}
    columns: dict[str, np.ndarray] = {}
    for name, of_seeds in stacked.items():
        value, low, high = _with_bounds(of_seeds, name, drawn)
        columns |= {name: value, f"{name}_low95": low, f"{name}_high95": high}
    compared = np.array([name not in REFERENCES for name in first.scores])[:, None]
    size = np.where(compared, np.abs(columns["spearman"]), np.nan)
    level = 1 - 0.05 / np.maximum(np.isfinite(size).sum(axis=0), 1)
    rank = 1 + (size[None] > size[:, None]).sum(axis=1)  # nothing is above what has none
    _, low, high = _with_bounds(stacked["spearman"], "spearman", drawn, level)
    columns |= {"spearman_best_low95": low, "spearman_best_high95": high}
    columns["p_permutation"] = ranks.permutation_p(permuted)
    same = (np.sign(stacked["spearman"][:, 0]) == np.sign(columns["spearman"])).sum(axis=0)
    rows = []
    for i, statistic in enumerate(first.scores):
        for j, measure in enumerate(first.measures):
            row = key | {"statistic": statistic, "side": side_of(statistic), "measure": measure}
            row["rank"] = int(rank[i, j]) if np.isfinite(size[i, j]) else None
            row |= {name: float(values[i, j]) for name, values in columns.items()}
            rows.append(row | {"seeds": len(tables), "same_sign": int(same[i, j]), "samples": samples})
    return rows


def _with_bounds(
    tables: Float[np.ndarray, "seeds replicates scores measures"],
    name: str,
    drawn: Int[np.ndarray, " measures"],
    level: float | Float[np.ndarray, " measures"] = 0.95,
) -> tuple[np.ndarray, ...]:
    """Mean over seeds, low and high bound, each [scores, measures]."""
    if name in CORRELATIONS:
        tables = ranks.atanh(tables)
    estimate = ranks.over_seeds(tables, np.maximum(drawn, 2))
    low, high = (np.where(drawn < LEAST_DRAWN, np.nan, bound) for bound in ranks.bounds(estimate, level))
    found = (estimate.value, low, high)
    return tuple(map(np.tanh, found)) if name in CORRELATIONS else found


def side_of(statistic: str) -> str:
    """The side that is kept by default; low for a user's function, which says none."""
    if statistic in STATISTICS:
        return STATISTICS[statistic].side
    if ":" in statistic:
        with contextlib.suppress(ValueError):  # of an analysis of long ago, in a module that is gone
            return find_statistic(statistic).side
    return REFERENCES.get(statistic, "low")
