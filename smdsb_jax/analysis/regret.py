"""Which validator would have chosen the best checkpoint: correlations and regret, from records alone."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float
from matplotlib.figure import Figure

from smdsb_jax.analysis.ranks import spearman, weighted_spearman
from smdsb_jax.files import whole_file
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report.pictures import COLORS, FAINT, plain, save
from smdsb_jax.run.records import RECORDS, read_records
from smdsb_jax.scores import VALIDATOR, choice_of, choose, collapsed, value_of

LEAST = 3  # evaluations of a stage
NUMBERS = ("spearman", "weighted_spearman", "regret")


class Judged(NamedTuple):
    """A way of choosing in one stage of one run."""

    spearman: float  # with target accuracy over the evaluations; 0 for what is constant
    weighted_spearman: float
    regret: float  # points of the oracle's choice above its own


class Stage(NamedTuple):
    """One stage of one run."""

    run: str
    number: int
    evaluations: int
    collapsed: int  # of them
    judged: Mapping[str, Judged]  # by validator, `source_val` and `last`


def judge_runs(
    workdirs: Sequence[str | Path], out: str | Path, say: Callable[[str], None] = print
) -> list[Stage]:
    """Judge the validators of runs, print the tables and write `validators.csv` and `validators.png`.

    Raises:
      ValueError: no run has what it takes; names the remedy.
    """
    stages, skipped = [], []
    for workdir in workdirs:
        found, why = judge_run(workdir)
        stages += found
        skipped += why
    for line in skipped:
        say(line)
    if not stages:
        raise ValueError(
            f"No stage of a run has {LEAST} evaluations with target scores and validators: train with "
            "--config.eval_every of a tenth of the steps, labelled target test clouds, and config.validators."
        )
    table = summarize(stages)
    for number in sorted({stage.number for stage in stages}):
        say(f"\n{_heading([stage for stage in stages if stage.number == number])}")
        say(markdown(table, number))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "validators.csv") as part:
        part.write_text(csv_text(table), encoding="utf-8")
    draw(folder / "validators.png", table)
    say(f"\nWritten: {folder / 'validators.csv'}, {folder / 'validators.png'}")
    return stages


def judge_run(workdir: str | Path) -> tuple[list[Stage], list[str]]:
    """The stages of a run that can be judged, and a line for each that cannot."""
    path = Path(workdir) / RECORDS
    if not path.exists():
        return [], [f"{workdir}: left out, no {RECORDS}."]
    records, stages, skipped = read_records(path), [], []
    for number in sorted({record["stage"] for record in records}):
        found = [r for r in records if r["stage"] == number and value_of(r, "target_test")]
        names = dict.fromkeys(name for r in found for name in r if name.startswith(f"{VALIDATOR}/"))
        if len(found) < LEAST or not names:
            what = f"{len(found)} evaluations with target scores" if names or not found else "no validators"
            skipped.append(
                f"{workdir}, stage {number}: left out, {what}. At least {LEAST} are needed: train with a "
                "smaller --config.eval_every, labelled target test clouds, and config.validators."
            )
            continue
        ways = [name.partition("/")[2] for name in names]
        ways += ["source_val"] if value_of(found[0], "source_val") else []
        judged = {way: judge(found, way) for way in (*ways, "last")}
        few = sum(collapsed(record) for record in found)
        stages.append(Stage(str(workdir), number, len(found), few, judged))
    return stages, skipped


def judge(evaluations: Sequence[Mapping[str, Any]], select_by: str) -> Judged:
    """One way of choosing, by its own rule, on the evaluations of a stage."""

    def values(score: str) -> Float[np.ndarray, " n"]:
        found = [value_of(record, score) for record in evaluations]
        return np.array([np.nan if value is None else value[1] for value in found])

    accuracy, score = values("target_test"), choice_of(select_by).score
    value = finite(values(score) if score else np.arange(len(evaluations), dtype=float))
    chosen = choose(evaluations, select_by)
    assert chosen is not None
    return Judged(
        float(np.nan_to_num(spearman(value, accuracy))),
        weighted_spearman(value, accuracy),
        float(100 * (accuracy.max() - accuracy[chosen.index])),
    )


def finite(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """What is not finite becomes the smallest that is; 0 where nothing is."""
    known = values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, known.min() if known.size else 0.0)


class Row(NamedTuple):
    """A way of choosing in one stage, over all runs: mean, and the half width of its 95 % t-interval."""

    stage: int
    validator: str
    runs: int
    mean: Judged
    half: Judged  # NaN of a single run


def summarize(stages: Sequence[Stage]) -> list[Row]:
    """Rows of each stage, the smallest mean regret first."""
    rows = []
    for number in sorted({stage.number for stage in stages}):
        of_stage = [stage.judged for stage in stages if stage.number == number]
        for name in dict.fromkeys(name for judged in of_stage for name in judged):
            values = np.array([judged[name] for judged in of_stage if name in judged])
            half = np.full(len(NUMBERS), np.nan)
            if len(values) > 1:
                half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
            rows.append(Row(number, name, len(values), Judged(*values.mean(axis=0)), Judged(*half)))
    return sorted(rows, key=lambda row: (row.stage, row.mean.regret, -row.mean.spearman))


def _heading(stages: Sequence[Stage]) -> str:
    counts = sorted({stage.evaluations for stage in stages})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    few = sum(stage.collapsed for stage in stages)
    out = f" {few} of all are collapsed: no validator chooses them, correlations have them." if few else ""
    head = f"Stage {stages[0].number}, runs: {len(stages)}, evaluations of each: {each}."
    return f"{head} Mean [95 % t-interval over runs].{out}"


def markdown(rows: Sequence[Row], stage: int) -> str:
    """The table of one stage."""
    lines = []
    for row in rows:
        if row.stage == stage:
            cells = map(_cell, NUMBERS, row.mean, row.half)
            lines.append([row.validator, *cells, str(row.runs)])
    return markdown_table(["validator", "Spearman", "weighted Spearman", "regret, points", "runs"], lines)


def ends(name: str, mean: float, half: float) -> tuple[float, float] | None:
    """Of the interval, cut off where no value of this name can be; None of a single run."""
    low, high = (0.0, 100.0) if name == "regret" else (-1.0, 1.0)
    return None if np.isnan(half) else (max(mean - half, low), min(mean + half, high))


def _cell(name: str, mean: float, half: float) -> str:
    digits, found = 1 if name == "regret" else 2, ends(name, mean, half)
    return f"{mean:.{digits}f}" + (f" [{found[0]:.{digits}f}, {found[1]:.{digits}f}]" if found else "")


def csv_text(rows: Sequence[Row]) -> str:
    """One line per row; `_low` and `_high` are empty of a single run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")]
    writer.writerow(["stage", "validator", "runs", *heads])
    for row in rows:
        cells = []
        for name, mean, half in zip(NUMBERS, row.mean, row.half, strict=True):
            found = ends(name, mean, half)
            cells += [f"{mean:.6f}", *(("", "") if found is None else map("{:.6f}".format, found))]
        writer.writerow([row.stage, row.validator, row.runs, *cells])
    return text.getvalue()


def draw(path: str | Path, rows: Sequence[Row]) -> None:
    """Regret of each validator with its interval, a panel per stage."""
    numbers = sorted({row.stage for row in rows})
    longest = max(sum(row.stage == number for row in rows) for number in numbers)
    figure = Figure(figsize=(1 + 5 * len(numbers), 1.4 + 0.36 * longest), layout="constrained")
    for axes, number in zip(figure.subplots(1, len(numbers), squeeze=False)[0], numbers, strict=True):
        of_stage = [row for row in rows if row.stage == number]
        for y, row in enumerate(of_stage):
            color = COLORS[1] if row.validator in ("last", "source_val") else COLORS[0]
            mean, found = row.mean.regret, ends("regret", row.mean.regret, row.half.regret)
            bars = None if found is None else [[mean - found[0]], [found[1] - mean]]
            axes.errorbar([mean], [y], xerr=bars, fmt="o", markersize=6, capsize=3, color=color)
        axes.set_yticks(range(len(of_stage)), [row.validator for row in of_stage])
        axes.set_ylim(len(of_stage) - 0.5, -0.5)
        axes.set_xlim(left=-0.02 * axes.get_xlim()[1])
        axes.grid(color=FAINT, linewidth=0.8)
        plain(axes, f"Stage {number}: what the choice loses", "regret on target test, points", "")
    save(figure, path)
