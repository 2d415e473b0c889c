"""Figure 6: the class losses of samples of low and of high score, and how much they vary."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.figures.recorded import Curves, mark_stage_2, recorded, run_config, run_name
from smdsb_jax.report.pictures import COLORS, FAINT, INK, log_scale, plain
from smdsb_jax.selection import SIDES
from smdsb_jax.state import Pair

WINDOW = 200  # steps, and at most a tenth of the stage
LEAST_WINDOWS = 5  # in the last half; of fewer the bootstrap knows too little
SPREADS = {  # of the loss within a window; the last two know no level
    "variance": "variance",
    "variation": "coefficient\nof variation",
    "log_variance": "variance of\nthe log loss",
}
REMEDY = "train with selection, as --config configs/embedded.py:c2s,selection=skewness --config.log_every=1"


class Moving(NamedTuple):
    """A curve over windows of some records; the first value is of the first whole window."""

    mean: Float[np.ndarray, " windows"]
    variance: Float[np.ndarray, " windows"]  # of the population
    variation: Float[np.ndarray, " windows"]  # standard deviation / mean
    log_variance: Float[np.ndarray, " windows"]


class Ratio(NamedTuple):
    """High by low, with a 95 % interval; NaN where there are too few windows for one."""

    value: float
    low95: float
    high95: float


def moving(loss: Float[np.ndarray, " records"], window: int) -> Moving:
    """Mean and spread of the last `window` records, wherever there are so many."""
    windows = np.lib.stride_tricks.sliding_window_view(loss, window)
    logs = np.log(np.maximum(windows, np.finfo(float).tiny))
    mean, variance = windows.mean(axis=1), windows.var(axis=1)
    return Moving(
        mean, variance, np.sqrt(variance) / np.maximum(mean, np.finfo(float).tiny), logs.var(axis=1)
    )


def ratio_of_means(
    high: Float[np.ndarray, " windows"], low: Float[np.ndarray, " windows"], block: int, seed: int = 0
) -> Ratio:
    """Mean of `high` by mean of `low`, with the percentiles of 2,000 resamples of blocks in a row.

    Blocks of `block` values, the same of both, start anywhere   [moving blocks: Kuensch, Annals of Statistics
    17 (1989) 1217].
    """
    value = float(high.mean() / low.mean()) if low.mean() > 0 else np.nan
    if len(high) < LEAST_WINDOWS * block:
        return Ratio(value, np.nan, np.nan)
    sums = [np.lib.stride_tricks.sliding_window_view(v, block).sum(axis=1) for v in (high, low)]
    start = np.random.default_rng(seed).integers(len(sums[0]), size=(2000, -(-len(high) // block)))
    above, below = (of[start].sum(axis=1) for of in sums)
    low95, high95 = np.percentile(above / np.maximum(below, np.finfo(float).tiny), (2.5, 97.5))
    return Ratio(value, float(low95), float(high95))


def group_losses(material: Material) -> dict[str, Drawn]:
    """Mean class loss of the samples that score lowest and highest   [SM-DSB, arXiv:2504.15796, Fig. 6].

    One picture per run, from its records alone: the losses of the 30 % of each mini-batch with the lowest and
    the highest scores, their variance over 200 steps (a tenth of shorter stages), and what is left of a
    difference once the level of the loss is taken out: a loss twice as high varies twice as much, whatever
    the samples.

    Raises:
      ValueError: no run has recorded such losses.
    """
    drawn, lacking = {}, []
    for workdir in material.workdirs:
        stages = recorded(workdir, "selection/")
        stages = {s: c for s, c in stages.items() if "source/loss_low" in c.value and len(c.step) > 1}
        if stages:
            drawn[run_name(workdir)] = _figure(workdir, stages)
        else:
            lacking.append(run_name(workdir))
    if not drawn:
        raise ValueError(f"no losses of groups are recorded in {', '.join(lacking) or 'any run'}: {REMEDY}.")
    if lacking:
        first = next(iter(drawn))
        note = f"without losses of groups: {', '.join(lacking)}; {REMEDY}"
        drawn[first] = drawn[first]._replace(notes=[*drawn[first].notes, note])
    return drawn


def _figure(workdir: Path, stages: dict[int, Curves]) -> Drawn:
    config = run_config(workdir)
    score, every = config["selection.statistic"], int(config["log_every"])
    domains = [d for d in Pair._fields if any(f"{d}/loss_low" in c.value for c in stages.values())]
    figure = Figure(figsize=(1.4 + 4.6 * len(domains), 8.4), layout="constrained")
    grid = figure.subplots(1 + len(SPREADS), len(domains), squeeze=False, sharex="col", sharey="row")
    table, notes = list[Row](), list[str]()
    for column, domain in zip(grid.T, domains, strict=True):
        own = {stage: c for stage, c in stages.items() if f"{domain}/loss_low" in c.value}
        for stage, c in own.items():
            window = _window(c, steps := int(config[f"stage{stage}.steps"]))
            groups = {side: moving(c.value[f"{domain}/loss_{side}"], window) for side in SIDES}
            end = c.step[window - 1 :]
            for side, color in zip(SIDES, COLORS, strict=False):
                raw = c.value[f"{domain}/loss_{side}"]
                column[0].plot(c.step, raw, color=color, alpha=0.25, linewidth=0.8)
                label = f"{side} {score}" if stage == min(own) else None
                for axes, name in zip(column, ("mean", *SPREADS), strict=True):
                    axes.plot(end, getattr(groups[side], name), color=color, linewidth=1.8, label=label)
            table += _rows(stage, domain, end, groups)
            last = end > end[-1] - steps / 2
            notes.append(f"stage {stage}, {domain}: {_note(groups, last, window, every)}")
        for axes, name in zip(column, ("class loss", *SPREADS.values()), strict=True):
            x = "step (optimizer updates)" if axes is column[-1] else ""
            plain(axes, domain if axes is column[0] else "", x, name if domain == domains[0] else "")
            log_scale(axes)
            axes.grid(color=FAINT, linewidth=0.8)
        mark_stage_2(column[0], workdir, own)
    figure.suptitle(run_name(workdir), fontsize=13, color=INK)
    handles = grid[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
    if every > 1:
        notes.append(
            f"each record is a mean over {every} steps, so that the spread is that of such means, which is "
            "smaller; for that of steps train with --config.log_every=1"
        )
    return Drawn(figure, table, notes)


def _window(curves: Curves, steps: int) -> int:
    """Records of a window: of WINDOW steps, or a tenth of the stage; at least two, at most all."""
    each = max(float(np.median(np.diff(curves.step))), 1.0)
    return int(np.clip(round(min(WINDOW, steps / 10) / each), 2, len(curves.step)))


def _rows(stage: int, domain: str, step: np.ndarray, groups: Mapping[str, Moving]) -> list[Row]:
    columns = {f"{name}_{side}": getattr(of, name) for side, of in groups.items() for name in Moving._fields}
    return [
        {"stage": stage, "domain": domain, "step": int(at)} | {k: float(v[i]) for k, v in columns.items()}
        for i, at in enumerate(step)
    ]


def _note(groups: Mapping[str, Moving], last: np.ndarray, window: int, every: int) -> str:
    """Ratios of the last half of a stage, and what they say of the claim."""
    ratios = {}
    for name in SPREADS:
        low, high = (getattr(groups[side], name)[last] for side in SIDES)
        ratios[name] = ratio_of_means(high, low, window)
    low, high = (groups[side].variance[last].mean() for side in SIDES)
    words = {"variance": "variance", "variation": "coefficient of variation", "log_variance": "log variance"}
    told = "; ".join(f"{words[name]} {_told(r)}" for name, r in ratios.items())
    return (
        f"over {window * every} steps, mean of the last half, the variance is {low:.3g} (low) and {high:.3g} "
        f"(high). High by low: {told}. {_verdict(ratios)}"
    )


def _told(ratio: Ratio) -> str:
    interval = f" [{ratio.low95:.2f}, {ratio.high95:.2f}]" if np.isfinite(ratio.low95) else ""
    return f"{ratio.value:.2f}{interval}"


def _verdict(ratios: Mapping[str, Ratio]) -> str:
    """Which claim survives: that the high group varies more, and more than its level makes it."""
    plainly, *relative = ratios.values()
    if not np.isfinite(plainly.low95):
        return f"No interval: the last half has fewer than {LEAST_WINDOWS} windows"
    if plainly.high95 < 1:
        return "The claim fails: the low group varies more"
    if not plainly.low95 > 1:
        return "Which group varies more cannot be told"
    above = [r.low95 > 1 for r in relative]
    if all(above):
        return "The claim survives: the high group varies more, also relative to its level"
    if any(above):
        return "The high group varies more; relative to its level the two measures do not agree"
    return "The high group varies more because its loss is higher: relative to its level it does not"
