"""Figure 4: cosines of the tasks' gradients with each other and with the oracle's, over training."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.figures.recorded import Curves, mark_stage_2, recorded, run_name
from smdsb_jax.report.pictures import COLORS, FAINT, INK, plain

CEILING = "cos_oracle_oracle"
LABELS = {
    "cos_class_pretext": "class, pretext",
    "cos_total_oracle": "both together, oracle",
    "cos_class_oracle": "class, oracle",
    "cos_pretext_oracle": "pretext, oracle",
    CEILING: "oracle, other oracle (noise ceiling)",
}
MEMORY = 8  # the smoothed curve remembers an eighth of a stage: 0.98 per record of 400
REMEDY = "train it with smdsb train --watch=100, or with fewer steps than 100 where stages are short"


def exponential_mean(values: Float[np.ndarray, " records"], memory: float) -> Float[np.ndarray, " records"]:
    """Weights (1 - 1 / memory)^age, which add up to 1 from the first record on; NaN counts for nothing."""
    keep, out = max(1 - 1 / memory, 0.0), np.full(len(values), np.nan)
    total = weight = 0.0
    for i, value in enumerate(values):
        known = float(np.isfinite(value))
        total, weight = keep * total + known * np.nan_to_num(value), keep * weight + known
        out[i] = total / weight if weight > 0 else np.nan
    return out


def cosines(material: Material) -> dict[str, Drawn]:
    """Cosines of the encoder gradients of class, pretext task and oracle [SM-DSB, arXiv:2504.15796, Fig. 4].

    One picture per run that was trained with --watch: as recorded, and an exponential mean over an eighth of
    the stage. Late gradients are small and noisy, which alone lets the cosine with the oracle fall: so do two
    oracles of different clouds agree less, and that is the ceiling which it is divided by.

    Raises:
      ValueError: no run was watched.
    """
    watched = {w: recorded(w, "watch/") for w in material.workdirs}
    watched = {w: stages for w, stages in watched.items() if any(CEILING in c.value for c in stages.values())}
    if not watched:
        names = ", ".join(map(run_name, material.workdirs)) or "any run"
        raise ValueError(f"no gradients were watched in {names}: {REMEDY}.")
    return {run_name(w): _figure(w, stages) for w, stages in watched.items()}


def _figure(workdir: Path, stages: Mapping[int, Curves]) -> Drawn:
    figure = Figure(figsize=(8.6, 5.2), layout="constrained")
    axes, table, notes = figure.subplots(), list[Row](), list[str]()
    for stage, curves in stages.items():
        for (name, label), color in zip(LABELS.items(), (*COLORS[:4], INK), strict=True):
            if name not in curves.value:
                continue
            raw = curves.value[name]
            smooth = exponential_mean(raw, len(raw) / MEMORY)
            line = "--" if name == CEILING else "-"
            axes.plot(curves.step, raw, color=color, alpha=0.2, linewidth=1)
            again = label in axes.get_legend_handles_labels()[1]
            told = None if again else label
            axes.plot(curves.step, smooth, linewidth=2, label=told, color=color, linestyle=line)
            columns = zip(curves.step, raw, smooth, strict=True)
            of: Row = {"stage": stage, "curve": label}
            table += [of | {"step": int(s), "cosine": float(r), "smooth": float(m)} for s, r, m in columns]
            notes.append(f"stage {stage}, {label}: {_summary(curves.step, raw)}")
        notes += _shares(stage, curves)
    plain(axes, run_name(workdir), "step (optimizer updates)", "cosine")
    axes.axhline(0, color=INK, linewidth=0.8, zorder=0)
    axes.grid(color=FAINT, linewidth=0.8)
    mark_stage_2(axes, workdir, stages)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
    return Drawn(figure, table, notes)


def last_third(curves: Curves, name: str) -> float:
    """Mean of the last third of a stage's records; NaN where none is known."""
    values = curves.value[name][-max(len(curves.step) // 3, 1) :]
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else np.nan


def slope(step: Int[np.ndarray, " records"], values: Float[np.ndarray, " records"]) -> float:
    """Least squares, per 1,000 steps; NaN of fewer than two records."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return np.nan
    x = (step[known] - step[known].mean()) / 1000
    return float(x @ (values[known] - values[known].mean()) / (x @ x))


def _summary(step: Int[np.ndarray, " records"], values: Float[np.ndarray, " records"]) -> str:
    mean = last_third(Curves(step, {"": values}), "")
    below = np.mean(values[np.isfinite(values)] < 0)
    return (
        f"mean of the last third {mean:+.3f}, slope {slope(step, values):+.3f} per 1,000 steps, "
        f"{100 * below:.0f} % of {len(values)} below 0"
    )


def _shares(stage: int, curves: Curves) -> list[str]:
    """What the noise of the oracle leaves of the cosines with it."""
    ceiling = last_third(curves, CEILING)
    if not ceiling > 0:
        return [
            f"stage {stage}: two oracles do not agree ({ceiling:+.3f}): nothing can be said of the oracle"
        ]
    of = {
        n: LABELS[n]
        for n in ("cos_total_oracle", "cos_class_oracle", "cos_pretext_oracle")
        if n in curves.value
    }
    by = [f"{label} {last_third(curves, name) / ceiling:+.2f}" for name, label in of.items()]
    root = last_third(curves, "cos_total_oracle") / np.sqrt(ceiling)
    return [
        f"stage {stage}, mean of the last third by the noise ceiling: {', '.join(by)}; by its root, which is "
        f"what the noise of one oracle batch takes, {LABELS['cos_total_oracle']} {root:+.2f}"
    ]
