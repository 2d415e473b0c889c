"""The leaderboard: how well every statistic predicts every measure of agreement, with intervals."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.analysis import ranks
from smdsb_jax.analysis.examined import DOMAINS, SOURCE, TARGET, Examined
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

    `spearman`, `kendall` (τ_b) and `partial` (Spearman's given loss and confidence) are of score and
    measure: a negative one says that low scores agree. `kept_low` and `kept_high` are the mean measure of
    the `keep_ratio` of samples with the lowest or highest scores minus that of all, in standard deviations
    of the measure. Each has the bounds of a 95 % interval, over samples (mini-batches where BatchNorm
    couples them; NaN where those are fewer than 5) and, where a group has several seeds, over seeds, all of
    which see the same samples drawn (`ranks.over_seeds`); checkpoints with other samples have theirs drawn
    apart. Correlations are averaged, and their intervals made, as atanh. `spearman_best_low95` and
    `spearman_best_high95` bound whichever of the k statistics is picked for its correlation with the
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
    candidates = np.isfinite(columns["spearman"])[[name not in REFERENCES for name in first.scores]]
    level = 1 - 0.05 / np.maximum(candidates.sum(axis=0), 1)
    _, low, high = _with_bounds(stacked["spearman"], "spearman", drawn, level)
    columns |= {"spearman_best_low95": low, "spearman_best_high95": high}
    columns["p_permutation"] = ranks.permutation_p(permuted)
    same = (np.sign(stacked["spearman"][:, 0]) == np.sign(columns["spearman"])).sum(axis=0)
    rows = []
    for i, statistic in enumerate(first.scores):
        for j, measure in enumerate(first.measures):
            row = key | {"statistic": statistic, "side": side_of(statistic), "measure": measure}
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


def overview(rows: Sequence[Mapping], leaders: int = 3) -> list[str]:
    """Skewness, the leading statistics and the references over all groups, stages and both domains at once.

    A line each, for gain and dot_o: the mean Spearman, and how many intervals lie below and above 0, of
    which one in 40 does on each side by chance. The leading statistics are chosen here, so that theirs are
    the wider intervals for the best.
    """
    lines = []
    for measure in ("gain", "dot_o"):
        of: dict[str, list[Mapping]] = {}
        for r in rows:
            if r["measure"] == measure and r["domain"] in (SOURCE, TARGET) and np.isfinite(r["spearman"]):
                of.setdefault(str(r["statistic"]), []).append(r)
        mean = {name: ranks.mean_correlation([r["spearman"] for r in own]) for name, own in of.items()}
        ranked = sorted((name for name in of if name not in REFERENCES), key=lambda name: -abs(mean[name]))
        for name in dict.fromkeys(n for n in ("skewness", *ranked[:leaders], *REFERENCES) if n in of):
            asked = name == "skewness" or name in REFERENCES
            column = "spearman" if asked else "spearman_best"
            below = sum(r[f"{column}_high95"] < 0 for r in of[name])
            above = sum(r[f"{column}_low95"] > 0 for r in of[name])
            adjusted = "" if asked else f", adjusted for the choice among {len(ranked)},"
            lines.append(
                f"{measure}, {name}: mean Spearman {mean[name]:+.2f}; of {len(of[name])} intervals{adjusted} "
                f"{below} below 0 (keep low), {above} above (keep high)"
            )
    return lines


def verdicts(rows: Sequence[Mapping], keep_ratio: float = 0.7) -> list[str]:
    """What it says of low against high skewness, and which statistic leads: a line per question.

    The interval of the leader holds for the best of all statistics; a side is named where it excludes 0.
    """
    lines = []
    keys = dict.fromkeys((r["group"], r["stage"], r["step"], r["domain"]) for r in rows)
    for group, stage, step, domain in keys:
        if domain not in (SOURCE, TARGET):
            continue
        for measure in ("gain", "dot_o"):
            of = [
                r for r in rows
                if (r["group"], r["stage"], r["step"], r["domain"], r["measure"])
                == (group, stage, step, domain, measure) and r["statistic"] not in REFERENCES
            ]  # fmt: skip
            where = f"{group}, stage {stage}, step {step}, {domain}, {measure}"
            skew = next((r for r in of if r["statistic"] == "skewness"), None)
            if skew is not None:
                lines.append(f"{where}: skewness {_interval(skew)}: {_verdict(skew)}.")
            known = [r for r in of if np.isfinite(r["spearman"])]
            if known:
                best = max(known, key=lambda r: abs(r["spearman"]))
                line = f"{where}: of {len(known)} statistics {best['statistic']} leads, "
                line += f"{_interval(best, 'spearman_best')}, adjusted for the choice among {len(known)}: "
                lines.append(f"{line}{_verdict(best, 'spearman_best', keep_ratio)}.")
    return lines


def _interval(row: Mapping, bounds: str = "spearman") -> str:
    value, low, high = row["spearman"], row[f"{bounds}_low95"], row[f"{bounds}_high95"]
    if not np.isfinite(value):
        return "Spearman undefined"
    return (
        f"Spearman {value:+.2f} [{low:+.2f}, {high:+.2f}]" if np.isfinite(low) else f"Spearman {value:+.2f}"
    )


def _verdict(row: Mapping, bounds: str = "spearman", keep_ratio: float | None = None) -> str:
    """The side to keep, and with a ratio what that is worth; or why none is named."""
    low, high = row[f"{bounds}_low95"], row[f"{bounds}_high95"]
    if not np.isfinite(row["spearman"]):
        return "its scores or the measure are constant"
    if not np.isfinite(low):
        return f"no interval, for it takes {LEAST_DRAWN} mini-batches: give more samples"
    if not low * high > 0:
        return "neither side, it cannot be told from 0"
    side = "low" if high < 0 else "high"
    if keep_ratio is None:
        return f"keep {side}"
    return f"keep {side}, of which {100 * keep_ratio:.0f} % are worth {row[f'kept_{side}']:+.2f} sd"
