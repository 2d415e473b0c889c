"""What a network loses with the points that its saliency map names: whether the map is right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smdsb_jax.analysis import ranks
from smdsb_jax.analysis.dropping import (
    CRITICAL,
    HIGHEST,
    LOWEST,
    RANDOM,
    Dropped,
    Outcome,
    check_dropping,
    drop_points,
)
from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.build import load_domain, load_target, require_root
from smdsb_jax.datasets.domain import UNLABELLED, Split
from smdsb_jax.inference import Model, load
from smdsb_jax.report.pictures import COLORS, FAINT, INK, plain

LOOKS = {HIGHEST: COLORS[1], LOWEST: COLORS[0], CRITICAL: COLORS[2], RANDOM: "#777777"}
REPLICATES = 2000  # of the bootstrap over clouds


def dropping(
    material: Material, *, points: int = 20, rounds: int = 5, seeds: int = 5, alpha: float | None = None
) -> dict[str, Drawn]:
    """Accuracy as points are dropped by saliency, and at random   [Zheng et al., ICCV 2019].

    One picture per run, of the checkpoint that `smdsb_jax.load` takes; the source's validation clouds and the
    target's test clouds, under their true labels.

    Args:
      material: its runs.
      points: dropped in each round.
      rounds: how many; the map is computed anew in each.
      seeds: of dropping at random.
      alpha: of the saliency map; None: the run's own.

    Raises:
      ValueError: a run whose labels are of points; as `smdsb_jax.load` and `drop_points`.
    """
    return {str(w): _picture(w, material, points, rounds, seeds, alpha) for w in material.workdirs}


def _picture(
    workdir: Path, material: Material, points: int, rounds: int, seeds: int, alpha: float | None
) -> Drawn:
    model = load(workdir, allow=material.allow)
    if model.network.task.per_point:
        raise ValueError(f"{workdir} labels points, which cannot be dropped: give a run that labels clouds.")
    config = model.config.copy_and_resolve_references()
    if material.root is not None:
        config.data.root = material.root
    config.saliency.alpha = config.saliency.alpha if alpha is None else alpha
    model = model._replace(config=config)
    check_dropping(config.data.points, points, rounds)
    require_root(config, workdir)
    splits = _labelled_splits(model)
    figure = Figure(figsize=(0.9 + 4.4 * len(splits), 4.6), layout="constrained")
    dropped, table, notes = points * np.arange(rounds + 1), list[Row](), list[str]()
    row = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for axes, (name, split) in zip(row, splits.items(), strict=True):
        found = drop_points(model, split, points, rounds, seeds)
        _curves(axes, dropped, found)
        plain(axes, f"{name}, {len(split.label)} clouds", f"points dropped, of {config.data.points}", "")
        axes.grid(color=FAINT, linewidth=0.8)
        for kind, outcomes in found.outcomes.items():
            table += _rows(name, kind, dropped, outcomes)
        notes += _sentences(name, dropped, found)
    row[0].set_ylabel("accuracy, %", fontsize=11, color=INK)
    figure.suptitle(f"{workdir}, stage {model.stage}, step {model.step}", fontsize=13, color=INK)
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return Drawn(figure, table, notes)


def _labelled_splits(model: Model) -> dict[str, Split]:
    """The source's validation and the target's test clouds that have labels."""
    source, target = load_domain(model.config, "source"), load_target(model.config, model.classes)
    splits = {f"{source.name} (source), validation": source.val, f"{target.name} (target), test": target.test}
    known = {name: split.label != UNLABELLED for name, split in splits.items()}
    found = {n: Split(s.points[known[n]], s.label[known[n]]) for n, s in splits.items() if known[n].any()}
    if not found:
        raise ValueError("it needs labelled clouds: neither the source's val nor the target's test has any.")
    return found


def _accuracy(outcomes: Sequence[Outcome]) -> Float[np.ndarray, "seeds rounds"]:
    return np.stack([outcome.correct.mean(axis=-1) for outcome in outcomes])


def _curves(axes: Axes, dropped: np.ndarray, found: Dropped) -> None:
    for kind, outcomes in found.outcomes.items():
        accuracy = 100 * _accuracy(outcomes)
        if len(accuracy) > 1:
            low, high = accuracy.min(axis=0), accuracy.max(axis=0)
            axes.fill_between(dropped, low, high, color=LOOKS[kind], alpha=0.25, linewidth=0)
        label = f"{kind}, {len(accuracy)} seeds" if kind == RANDOM else kind
        look = {"marker": "o", "markersize": 4, "linewidth": 1.8, "color": LOOKS[kind]}
        axes.plot(dropped, accuracy.mean(axis=0), label=label, **look)
    axes.set_xticks(dropped)


def _rows(name: str, kind: str, dropped: np.ndarray, outcomes: Sequence[Outcome]) -> list[Row]:
    return [
        {
            "clouds of": name, "kind": kind, "seed": seed, "dropped": int(count),
            "accuracy": float(correct.mean()), "loss": float(loss.mean()),
        }
        for seed, outcome in enumerate(outcomes)
        for count, loss, correct in zip(dropped, *outcome, strict=True)
    ]  # fmt: skip


def _sentences(name: str, dropped: np.ndarray, found: Dropped) -> list[str]:
    """How good the map is; whether points of lowest saliency harm; what skewness says of the loss."""
    of_random = _accuracy(found.outcomes[RANDOM]).mean(axis=0)
    (highest,), (lowest,) = found.outcomes[HIGHEST], found.outcomes[LOWEST]
    area = np.trapezoid(of_random - _accuracy([highest])[0], dropped) / dropped[-1]
    change = lowest.correct[-1].astype(float) - lowest.correct[0]
    error = change.std() / np.sqrt(len(change))
    rho, low, high = rank_correlation(found.skewness, highest.loss[1] - highest.loss[0])
    return [
        f"{name}: dropping by highest saliency costs {100 * area:.1f} points of accuracy more than at "
        f"random, on average up to {dropped[-1]} points.",
        f"{name}: without the {dropped[-1]} points of lowest saliency the accuracy changes by "
        f"{100 * change.mean():+.1f} ± {100 * error:.1f} (standard error) points.",
        f"{name}: Spearman {rho:.2f} ({low:.2f} to {high:.2f}, 95 %) between the skewness of a cloud's map "
        f"and what its loss gains without its {dropped[1]} points of highest saliency.",
    ]


def rank_correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    """Spearman's correlation with its 95 % interval, a percentile bootstrap over samples."""
    weight = np.concatenate([np.ones((1, len(a))), ranks.resample(len(a), REPLICATES, seed=0)])
    value, *drawn = ranks.spearman_table(a[None].astype(float), b[None].astype(float), weight)[:, 0, 0]
    known = np.isfinite(drawn)
    low, high = np.quantile(np.array(drawn)[known], (0.025, 0.975)) if known.any() else (np.nan, np.nan)
    return float(value), float(low), float(high)
