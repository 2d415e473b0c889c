"""The leaderboard: how well every statistic predicts every measure of agreement, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.analysis import ranks
from smdsb_jax.analysis.examined import DOMAINS, SOURCE, TARGET, Examined
from smdsb_jax.analysis.oracle import REFERENCES
from smdsb_jax.statistics import STATISTICS

Row = dict[str, str | int | float | None]
Tables = dict[str, Float[np.ndarray, "replicates scores measures"]]  # first replicate: the value itself
COUPLED = ("dot_o", "dot_c", "loo1")  # samples of one mini-batch share its statistics: batches are drawn
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
    apart. Correlations are averaged, and their intervals made, as atanh.

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
    tables: Tables = {}
    for coupled in (True, False):
        of_kind = [i for i, name in enumerate(e.measures) if (name in COUPLED) == coupled]
        clusters = e.batch[here] if coupled else None
        drawn = ranks.resample(int(here.sum()), replicates, seed, clusters)
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
    combined = {name: _with_bounds(np.stack([t[name] for t in tables]), name, drawn) for name in tables[0]}
    signs = np.sign(np.stack([t["spearman"][0] for t in tables]))
    rows = []
    for i, statistic in enumerate(first.scores):
        for j, measure in enumerate(first.measures):
            row = key | {"statistic": statistic, "side": side_of(statistic), "measure": measure}
            for name, (value, low, high) in combined.items():
                row |= {name: value[i, j], f"{name}_low95": low[i, j], f"{name}_high95": high[i, j]}
            same = int((signs[:, i, j] == np.sign(combined["spearman"][0][i, j])).sum())
            rows.append(row | {"seeds": len(tables), "same_sign": same, "samples": samples})
    return [{k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()} for row in rows]


def _with_bounds(
    tables: Float[np.ndarray, "seeds replicates scores measures"],
    name: str,
    drawn: Int[np.ndarray, " measures"],
) -> tuple[np.ndarray, ...]:
    """Mean over seeds, low and high bound, each [scores, measures]."""
    if name in CORRELATIONS:
        tables = ranks.atanh(tables)
    estimate = ranks.over_seeds(tables, np.maximum(drawn, 2))
    low, high = (np.where(drawn < LEAST_DRAWN, np.nan, bound) for bound in ranks.bounds(estimate))
    found = (estimate.value, low, high)
    return tuple(map(np.tanh, found)) if name in CORRELATIONS else found


def side_of(statistic: str) -> str:
    """The side that is kept by default; low for a user's own."""
    if statistic in STATISTICS:
        return STATISTICS[statistic].side
    return REFERENCES.get(statistic, "low")


def overview(rows: Sequence[Mapping], leaders: int = 3) -> list[str]:
    """Skewness, the leading statistics and the references over all groups, stages and both domains at once.

    A line each, for gain and dot_o: the mean Spearman, and how many intervals lie below and above 0, of
    which one in 40 does on each side by chance.
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
            below = sum(r["spearman_high95"] < 0 for r in of[name])
            above = sum(r["spearman_low95"] > 0 for r in of[name])
            lines.append(
                f"{measure}, {name}: mean Spearman {mean[name]:+.2f}; of {len(of[name])} intervals {below} "
                f"below 0 (keep low), {above} above (keep high)"
            )
    return lines


def verdicts(rows: Sequence[Mapping], keep_ratio: float = 0.7) -> list[str]:
    """What it says of low against high skewness, and which statistic leads: a line per question."""
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
                lines.append(f"{where}: skewness {_interval(skew)}: {_side(skew)}.")
            known = [r for r in of if np.isfinite(r["spearman"])]
            if known:
                best = max(known, key=lambda r: abs(r["spearman"]))
                side = _best_side(best)
                lines.append(
                    f"{where}: of {len(known)} statistics {best['statistic']} leads, {_interval(best)}; "
                    f"keeping its {side} {100 * keep_ratio:.0f} % is worth {best[f'kept_{side}']:+.2f} sd."
                )
    return lines


def _interval(row: Mapping) -> str:
    value, low, high = (row[f"spearman{end}"] for end in ("", "_low95", "_high95"))
    if not np.isfinite(value):
        return "Spearman undefined"
    return (
        f"Spearman {value:+.2f} [{low:+.2f}, {high:+.2f}]" if np.isfinite(low) else f"Spearman {value:+.2f}"
    )


def _best_side(row: Mapping) -> str:
    return "low" if row["spearman"] < 0 else "high"


def _side(row: Mapping) -> str:
    if not np.isfinite(row["spearman"]):
        return "its scores or the measure are constant"
    if not np.isfinite(row["spearman_low95"]):
        return f"no interval, for it takes {LEAST_DRAWN} mini-batches: give more samples"
    if not row["spearman_low95"] * row["spearman_high95"] > 0:
        return "neither side"
    return f"keep {_best_side(row)}"
