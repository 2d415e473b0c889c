"""The runs below a folder, as rows of a table: what differs between them, how far they are, their scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smdsb_jax.markdown import markdown_table
from smdsb_jax.registry import printable, suggest
from smdsb_jax.run.records import CONFIG, RECORDS, read_config, read_records
from smdsb_jax.scores import ROLES

UNSAID = (
    "seed",
    "data.root",
)  # fields that differ and tell least: the seed comes last, the folder not at all


class FoundRun(NamedTuple):
    """A run as its folder tells it, without its checkpoints."""

    name: str  # the folder, from that which was searched
    config: Mapping[str, Any]  # flat: stage1.steps → 200
    state: str  # finished, or where it stands
    scores: Mapping[str, float]  # of the last evaluation, by name
    seconds: float | None  # that it trained, over all its starts; None: without TensorBoard's files


def find_runs(folder: Path) -> list[FoundRun]:
    """Those below `folder`, by name; itself, if it is one.

    Raises:
      ValueError: there is none, or the configuration of one cannot be read.
    """
    paths = sorted(path.parent for path in folder.rglob(CONFIG) if "checkpoints" not in path.parts)
    if not paths:
        raise ValueError(f"{folder}: no runs here. A run's folder has {CONFIG}, which train writes.")
    return [_read(path, folder) for path in paths]


def _read(path: Path, folder: Path) -> FoundRun:
    config = read_config(path)
    steps = [int(config[f"stage{stage}.steps"]) for stage in config["stages"]]
    records = read_records(path / RECORDS) if (path / RECORDS).exists() else []
    trained = [r for r in records if any(name.startswith("loss/") for name in r)]
    evaluated = [of_run for r in records if (of_run := _scores(r))]
    at = trained[-1]["step"] if trained else 0  # over both stages
    state = "finished" if at == sum(steps) else f"step {at} of {sum(steps)}" if at else "not begun"
    scores = evaluated[-1] if evaluated else {}
    name = str(path.relative_to(folder)) if path != folder else path.name
    return FoundRun(name, config, state, scores, _seconds(path / "tensorboard"))


def _scores(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if name.partition("/")[0] in ROLES}


def _seconds(events: Path) -> float | None:
    """Each start of a run begins a file, whose name has the time, and writes to it until it ends."""
    spans = []
    for path in events.glob("*tfevents.*"):
        begun = path.name.partition("tfevents.")[2].partition(".")[0]
        spans.append(path.stat().st_mtime - int(begun) if begun.isdigit() else 0.0)
    return sum(max(span, 0.0) for span in spans) if spans else None


def differing_fields(runs: Sequence[FoundRun]) -> list[str]:
    """The fields that do not have one value in all runs; where one lacks a field, that is a value too."""
    fields = dict.fromkeys(field for run in runs for field in run.config)
    several = [field for field in fields if len({repr(run.config.get(field)) for run in runs}) > 1]
    return [f for f in several if f not in UNSAID] + [f for f in ("seed",) if f in several]


def runs_table(runs: Sequence[FoundRun], sort: str = "") -> str:
    """A Markdown table, a run a row.

    Args:
      runs: at least one.
      sort: a column; its numbers from the largest, its words from A. Empty: by name.

    Raises:
      ValueError: there is no such column.
    """
    fields = differing_fields(runs)
    scores = list(dict.fromkeys(name for run in runs for name in run.scores))
    head = ["run", *fields, "state", *(f"{name}, %" for name in scores), "minutes"]
    rows: list[list[Any]] = [
        [run.name, *(run.config.get(f, "") for f in fields), run.state]
        + [run.scores.get(name, "") for name in scores]
        + [None if run.seconds is None else run.seconds / 60]
        for run in runs
    ]
    columns = [name.removesuffix(", %") for name in head]
    if sort:
        if sort not in columns:
            raise ValueError(f"--sort={sort}: no such column.{suggest(sort, columns)}")
        rows.sort(key=lambda row: _order(row[columns.index(sort)]))
    kinds = [(column in scores, column == "minutes") for column in columns]
    shown = [[_shown(value, *kind) for value, kind in zip(row, kinds, strict=True)] for row in rows]
    return markdown_table(head, shown)


def _order(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, -float(value), "") if number else (1, 0.0, str(value))


def _shown(value: Any, score: bool, minutes: bool) -> str:
    if value == "" or value is None:
        return ""
    if score:
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if minutes else printable(value if isinstance(value, str) else json.dumps(value))
