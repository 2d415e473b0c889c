"""Figures 8, 9 and 10: accuracy over the saliency's alpha and over the share of samples that is kept."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.figures.recorded import run_config
from smdsb_jax.config import FREE_FIELDS
from smdsb_jax.report.pictures import COLORS, FAINT, INK, plain
from smdsb_jax.run.records import RECORDS, read_records
from smdsb_jax.scores import value_of

ALPHA, KEEP = "saliency.alpha", "selection.keep_ratio"
SHARES = (0.125, 0.25, 0.5, 1.0)  # of the steps: the paper's 5, 10, 20 and 40 thousand
# what differs between the runs of a sweep beside the field
APART = {"seed", "data.source", "data.target", "init_from", *FREE_FIELDS} - {"stages"}


class Reached(NamedTuple):
    """A run's score at an evaluation."""

    direction: str
    value: float  # of the field that is swept
    seed: int
    step: int
    share: float  # of all steps
    score: float  # on the target's test, in %


def alpha(material: Material) -> dict[str, Drawn]:
    """Final score over alpha, a line per direction   [SM-DSB, arXiv:2504.15796, Fig. 8].

    Raises:
      ValueError: no two of the runs differ in alpha; says which to make.
    """
    return {name: _over_directions(runs, ALPHA) for name, runs in _sweeps(material, ALPHA, "alpha").items()}


def keep_ratio_over_steps(material: Material) -> dict[str, Drawn]:
    """Score over the kept share after an eighth, a quarter, a half and all of the steps   [ibid., Fig. 9].

    Of the evaluation at that step, or the last one before; a panel per direction.

    Raises:
      ValueError: no two of the runs differ in the kept share; says which to make.
    """
    return {name: _over_steps(runs) for name, runs in _sweeps(material, KEEP, "keep_ratio").items()}


def keep_ratio(material: Material) -> dict[str, Drawn]:
    """Final score over the kept share, a line per direction   [ibid., Fig. 10].

    Raises:
      ValueError: no two of the runs differ in the kept share; says which to make.
    """
    return {
        name: _over_directions(runs, KEEP) for name, runs in _sweeps(material, KEEP, "keep_ratio").items()
    }


def _sweeps(material: Material, field: str, table: str) -> dict[str, list[Reached]]:
    """The evaluations of runs that differ in the field, seed and direction alone, by what they share."""
    groups: dict[str, dict[Path, Mapping[str, Any]]] = {}
    for workdir in material.workdirs:
        config = run_config(workdir)
        same = {k: v for k, v in config.items() if k not in {*APART, field}}
        groups.setdefault(json.dumps(same, sort_keys=True), {})[workdir] = config
    found = {}
    for runs in groups.values():
        if len({config[field] for config in runs.values()}) > 1:
            name = f"{next(iter(runs.values()))['pretext.name']} {len(found) + 1}"
            found[name] = [
                reached for w, config in runs.items() for reached in _evaluations(w, config, field)
            ]
    if not found:
        raise ValueError(
            f"no two of these runs differ in config.{field} alone. Make some with smdsb sweep --table "
            f"configs/tables.py:{table} --workdir runs/{table}, and give --workdir 'runs/{table}/*'."
        )
    return found


def _evaluations(workdir: Path, config: Mapping[str, Any], field: str) -> list[Reached]:
    stages = [config[f"stage{stage}.steps"] for stage in config["stages"]]
    direction = f"{config['data.source']} → {config['data.target']}"
    found = []
    for record in read_records(workdir / RECORDS) if (workdir / RECORDS).exists() else ():
        score = value_of(record, "target_test")
        if score is not None:
            at = record["step"], record["step"] / sum(stages)
            found.append(Reached(direction, float(config[field]), config["seed"], *at, 100 * score[1]))
    if not found:
        raise ValueError(f"{workdir} has no scores on the target's test: give runs whose target has labels.")
    return found


def at_share(runs: Sequence[Reached], share: float) -> list[Reached]:
    """Of each run the last evaluation up to a share of its steps; runs without one are left out."""
    last: dict[tuple, Reached] = {}
    for one in sorted(runs, key=lambda one: one.step):
        if one.share <= share + 1e-9:
            last[one.direction, one.value, one.seed] = one
    return list(last.values())


def finished(runs: Sequence[Reached]) -> tuple[list[Reached], int]:
    """The last evaluations of the runs that have all their steps, and how many have not."""
    last = at_share(runs, 1.0)
    final = [one for one in last if one.share >= 1 - 1e-9]
    return final, len(last) - len(final)


def _over_directions(runs: Sequence[Reached], field: str) -> Drawn:
    final, unfinished = finished(runs)
    if not final:
        raise ValueError("none of the runs is finished: go on with the sweep first.")
    directions = list(dict.fromkeys(one.direction for one in final))
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for k, direction in enumerate(directions):
        _line(axes, [one for one in final if one.direction == direction], COLORS[k % len(COLORS)], direction)
    _finish(axes, f"{_seeds(final)} at the last step", field)
    means = _means(final)
    notes = [f"{unfinished} unfinished runs are left out."] if unfinished else []
    for direction in directions:
        of = {value: mean for (where, value), mean in means.items() if where == direction}
        best, worst = max(of, key=of.__getitem__), min(of, key=of.__getitem__)
        notes.append(f"{direction}: from {of[worst]:.1f} % at {worst:g} to {of[best]:.1f} % at {best:g}.")
    return Drawn(figure, _table(final, field), notes)


def _over_steps(runs: Sequence[Reached]) -> Drawn:
    directions = list(dict.fromkeys(one.direction for one in runs))
    figure = Figure(figsize=(1 + 4.6 * len(directions), 4.4), layout="constrained")
    table: list[Row] = []
    for axes, direction in zip(
        figure.subplots(1, len(directions), squeeze=False)[0], directions, strict=True
    ):
        for k, share in enumerate(SHARES):
            found = at_share([one for one in runs if one.direction == direction], share)
            if found:
                _line(axes, found, COLORS[k], f"{share:g} of the steps")
                table += [{"share": share, **row} for row in _table(found, KEEP)]
        _finish(axes, direction, KEEP)
    return Drawn(figure, table)


def _line(axes: Axes, runs: Sequence[Reached], color: str, label: str) -> None:
    """Mean ± sample standard deviation over seeds."""
    values = sorted({one.value for one in runs})
    scores = [[one.score for one in runs if one.value == value] for value in values]
    mean = np.array([np.mean(of) for of in scores])
    std = np.array([np.std(of, ddof=1) if len(of) > 1 else 0.0 for of in scores])
    axes.errorbar(
        values, mean, std, color=color, marker="o", markersize=4, linewidth=1.8, elinewidth=1, label=label
    )


def _finish(axes: Axes, title: str, field: str) -> None:
    plain(axes, title, field.partition(".")[2].replace("_", " "), "target test score, %")
    axes.grid(color=FAINT, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)


def _means(runs: Sequence[Reached]) -> dict[tuple[str, float], float]:
    of: dict[tuple[str, float], list[float]] = {}
    for one in runs:
        of.setdefault((one.direction, one.value), []).append(one.score)
    return {key: float(np.mean(scores)) for key, scores in of.items()}


def _seeds(runs: Sequence[Reached]) -> str:
    count = len({one.seed for one in runs})
    return f"mean ± standard deviation over {count} seeds" if count > 1 else "one seed"


def _table(runs: Sequence[Reached], field: str) -> list[Row]:
    name = field.partition(".")[2]
    return [
        {"direction": of.direction, name: of.value, "seed": of.seed, "step": of.step, "score": of.score}
        for of in runs
    ]
