"""Additive noise models: does skewness look like the cause of conflict, and would it if it were not?"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smdsb_jax.analysis.causal import (
    NULLS,
    Marginals,
    Pairs,
    Regressor,
    gp_fixed,
    gp_ml,
    normal_scores,
    null_calibration,
    permutation_p,
    raw,
    subsampled,
    summarize,
)
from smdsb_jax.analysis.examined import SOURCE, Examined
from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.report.pictures import COLORS, FAINT, INK, plain

CONFLICTS = {  # minus the measure
    "cos_c": "-cos_c\n(classification)", "cos_s": "-cos_s\n(pretext task)", "cos_o": "-cos_o\n(oracle)",
    "gain": "-gain\n(of the update)",
}  # fmt: skip
WAYS: dict[str, tuple[Regressor, Marginals]] = {  # as the paper has it; for conclusions
    "length scale 1, values as they are": (gp_fixed, raw),
    "fitted length scale and noise, normal scores": (gp_ml, normal_scores),
}
PAPER = (0.16, 0.25)  # skewness → conflict and back   [SM-DSB, arXiv:2504.15796]
FEWEST = 20  # source samples
DIRECTIONS = {"forward": "skewness → conflict", "backward": "conflict → skewness"}


class Amounts(NamedTuple):
    """How much is computed of a checkpoint."""

    subsamples: int
    points: int  # of a subsample, and of the p-values
    permutations: int


class Found(NamedTuple):
    """What one way says of one measure, over all checkpoints of a picture."""

    pairs: Pairs  # of the subsamples
    shuffled: Pairs  # of subsamples whose skewness is that of other samples
    p: list[tuple[float, float]]  # by checkpoint, of either direction


def anm(
    material: Material,
    *,
    subsamples: int = 50,
    points: int = 200,
    permutations: int = 1000,
    calibration: int = 200,
) -> dict[str, Drawn]:
    """Scores of additive noise models, skewness against conflict of source samples, lower fits better.

    One picture per group and stage; each checkpoint by itself, their subsamples pooled.
    [SM-DSB, arXiv:2504.15796, V; Hoyer et al., NeurIPS 2008]

    Args:
      material: its examined checkpoints.
      subsamples: of a checkpoint, and as many of shuffled pairs. Those of few samples overlap: their spread
        is less than that of other samples would be.
      points: of a subsample, at most.
      permutations: for the p-values, on `points` samples.
      calibration: runs of made-up variables that do not depend on each other.

    Raises:
      ValueError: no checkpoint has skewness, one of the measures and enough source samples.
    """
    groups: dict[str, list[Examined]] = {}
    for e in material.examined:
        usable = "skewness" in e.scores and CONFLICTS.keys() & e.measures.keys()
        if usable and np.sum(e.domain == SOURCE) >= FEWEST:
            groups.setdefault(f"{e.group}, stage {e.stage}", []).append(e)
    if not groups:
        raise ValueError(
            f"it needs the statistic skewness and one of the measures {', '.join(CONFLICTS)} of {FEWEST} "
            "source samples: examine with these, and more samples."
        )
    amounts = Amounts(subsamples, points, permutations)
    drawn = {name: _picture(own, name, amounts) for name, own in groups.items()}
    first = next(iter(drawn))
    drawn[first] = drawn[first]._replace(notes=[_worth_of_the_papers(calibration), *drawn[first].notes])
    return drawn


def _picture(examined: Sequence[Examined], title: str, amounts: Amounts) -> Drawn:
    measures = [name for name in CONFLICTS if all(name in e.measures for e in examined)]
    figure = Figure(figsize=(2.6 + 2.1 * len(measures), 7.6), layout="constrained")
    table, notes = list[Row](), list[str]()
    for axes, (way, (regress, marginals)) in zip(figure.subplots(len(WAYS), 1), WAYS.items(), strict=True):
        found = {m: _score(examined, m, regress, marginals, amounts) for m in measures}
        for at, (measure, one) in enumerate(found.items()):
            _bars(axes, at, one)
            table += _rows(examined, way, measure, one)
            if regress is gp_ml:
                notes.append(_sentence(measure, one))
        plain(axes, way, "", "dependence of the residual\non the cause, T")
        axes.set_xticks(range(len(measures)), [CONFLICTS[m] for m in measures])
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
        if regress is gp_fixed:
            for value, color in zip(PAPER, COLORS, strict=False):
                axes.axhline(
                    value, color=color, linewidth=1.2, linestyle=(0, (4, 3)), label=f"paper: {value}"
                )
    figure.suptitle(f"{title}\nsource samples; lower is more plausible", fontsize=13, color=INK)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=3, frameon=False)
    return Drawn(figure, table, notes)


def _score(
    examined: Sequence[Examined],
    measure: str,
    regress: Regressor,
    marginals: Marginals,
    amounts: Amounts,
) -> Found:
    pairs, shuffled, p = [], [], []
    for e in examined:
        both = np.stack([e.scores["skewness"], -e.measures[measure]])[:, e.domain == SOURCE]
        x, y = both[:, np.isfinite(both).all(axis=0)].astype(np.float64)
        sub = functools.partial(
            subsampled, x, y, regress, marginals, subsamples=amounts.subsamples, points=amounts.points
        )
        pairs.append(sub())
        shuffled.append(sub(shuffled=True))
        rows = np.random.default_rng(0).permutation(len(x))[: amounts.points]
        x, y = marginals(x[rows]), marginals(y[rows])
        refute = functools.partial(permutation_p, regress=regress, permutations=amounts.permutations)
        p.append((refute(x, y), refute(y, x)))
    return Found(np.concatenate(pairs), np.concatenate(shuffled), p)


def _bars(axes: Axes, at: int, found: Found) -> None:
    """Of either direction a bar with 5 to 95 % of the subsamples, and beside it those of shuffled pairs."""
    of_pairs, of_null = summarize(found.pairs), summarize(found.shuffled)
    for side, (name, label), color in zip((-0.2, 0.2), DIRECTIONS.items(), COLORS, strict=False):
        low, high = of_pairs[f"{name}_5"], of_pairs[f"{name}_95"]
        mean, x = of_pairs[name], at + side - 0.06
        axes.bar(x, mean, 0.2, color=color, label=label)
        axes.errorbar(x, mean, [[mean - low], [high - mean]], color=INK, linewidth=1.2, capsize=3)
        low, high, x = of_null[f"{name}_5"], of_null[f"{name}_95"], at + side + 0.1
        axes.bar(x, high - low, 0.09, bottom=low, color="#BBBBBB", label="shuffled pairs, 5 to 95 %")
        axes.plot([x - 0.045, x + 0.045], [of_null[name]] * 2, color=INK, linewidth=1.2)


def _rows(examined: Sequence[Examined], way: str, measure: str, found: Found) -> list[Row]:
    """Two per checkpoint: of its pairs, and of shuffled ones, which have no p-values."""
    rows = list[Row]()
    each = len(found.pairs) // len(examined)
    for number, (e, p) in enumerate(zip(examined, found.p, strict=True)):
        own = slice(number * each, (number + 1) * each)
        of = {"way": way, "measure": measure, "seed": e.seed, "step": e.step}
        p_values = dict(zip(("p_forward", "p_backward"), p, strict=True))
        rows.append({**of, "pairs": "samples", **summarize(found.pairs[own]), **p_values})
        rows.append({**of, "pairs": "shuffled", **summarize(found.shuffled[own])})
    return rows


def _sentence(measure: str, found: Found) -> str:
    of_pairs, of_null = summarize(found.pairs), summarize(found.shuffled)
    refused = [sum(p < 0.05 for p in of_direction) for of_direction in zip(*found.p, strict=True)]
    return (
        f"-{measure}, {list(WAYS)[1]}: skewness → conflict has the lower score in {of_pairs['lower']:.0%} "
        f"of the subsamples, {of_null['lower']:.0%} of shuffled pairs; a permutation test (5 %) refuses it "
        f"in {refused[0]} of {len(found.p)} checkpoints, and conflict → skewness in {refused[1]}."
    )


def _worth_of_the_papers(runs: int) -> str:
    """What the printed scores are worth, by made-up variables that do not depend on each other."""
    normal, skewed = (
        null_calibration(NULLS[name], 200, runs) for name in ("normal, normal", "lognormal, normal")
    )
    low, high = normal["forward_5"], normal["forward_95"]
    inside = "both lie" if all(low <= value <= high for value in PAPER) else "do not both lie"
    return (
        f"The paper's {PAPER[0]} (skewness → conflict) and {PAPER[1]} (conflict → skewness) {inside} within "
        f"{low:.2f} to {high:.2f}, where 90 % of the scores of two independent normal variables fall; their "
        f"difference of {PAPER[0] - PAPER[1]:.2f} compares with a mean of {skewed['difference']:.2f} that a "
        "right-skewed and an independent normal variable have by the shapes of their marginals alone "
        f"({runs} runs of 200 points each, length scale 1)."
    )
