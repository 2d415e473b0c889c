"""A table as rows of options; the runs it needs, each checked before any of them starts."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from smdsb_jax.config import FREE_FIELDS, Config, resolve
from smdsb_jax.flags import call_of_file, load_config, named_file
from smdsb_jax.registry import suggest
from smdsb_jax.sweep.differences import Pairs
from smdsb_jax.sweep.published import Published

NAMELESS = tuple(field for field in FREE_FIELDS if field != "stages")  # not in a run's folder name

MOST_SEEDS = 1000  # each is a training of every cell


class Grid(NamedTuple):
    """A table: its rows, in every direction, with every encoder, for every seed."""

    title: str
    config: str  # a configuration file, as configs/pointda.py
    rows: Mapping[str, Sequence[str]]  # name → options of the file's argument, then fields as FIELD=VALUE
    directions: Sequence[str]
    seeds: int = 3
    encoders: Sequence[str] = ()  # of the rows that name none; empty: the configuration file's own
    options: str = ""  # of the file's argument, for all rows
    fields: Sequence[str] = ()  # for all rows, in place of the row's own
    stages: Sequence[int] = ()  # empty: the method's own
    measure: str = "accuracy"  # of smdsb_jax.sweep.measure.MEASURES
    published: Mapping[str, Published] = {}  # row → printed values; rows without runs are printed only
    select_by: str = "last"  # the headline's choice of checkpoints, of scores.SELECT_BY
    contrasts: Mapping[str, Pairs] = {}  # name → pairs of rows whose differences the table shows, pooled


class Run(NamedTuple):
    """One training of a grid."""

    row: str
    direction: str
    seed: int
    file: str  # the configuration file
    argument: str
    fields: tuple[str, ...]
    workdir: Path


def load_grid(name: str, root: Path) -> Grid:
    """`get_grid(argument)` of `path/to/file.py:argument`; the path is below the working directory or `root`.

    Raises:
      ValueError: no such file, one without `get_grid`, or what that raises.
    """
    path, _, argument = named_file(name).partition(":")
    return call_of_file(f"{find_file(path, root, '--table')}:{argument}", "get_grid", "--table")


def find_file(path: str, root: Path, flag: str) -> str:
    """The file at `path`, seen from the working directory, else from `root`.

    Raises:
      ValueError: neither has it.
    """
    for found in (Path(path), root / path):
        if found.is_file():
            return str(found.resolve())
    raise ValueError(f"{flag} {path}: no such file, here or in {root}.")


def grid_runs(grid: Grid, workdir: Path, root: Path) -> list[Run]:
    """The runs of a grid, seed by seed, so that an interrupted sweep has something of every cell.

    Raises:
      ValueError: the configuration file is missing, the grid has no rows or seeds, or too many, it sets the
        seed as a field, or two rows are the same.
    """
    if not grid.rows or not grid.directions or not 1 <= grid.seeds <= MOST_SEEDS:
        raise ValueError(
            f"{grid.title}: a table needs rows, directions and 1 to {MOST_SEEDS} seeds (--seeds)."
        )
    seeded = [word for word in grid.fields if word.partition("=")[0] == "seed"]
    if seeded:
        raise ValueError(
            f"field {seeded[0]!r}: a table's runs have the seeds 0, 1, …; give their number, --seeds."
        )
    file = find_file(grid.config, root, "configuration file")
    stages = [f"stages={tuple(grid.stages)}"] if grid.stages else []
    runs = []
    for seed in range(grid.seeds):
        for direction in grid.directions:
            for row, words in rows_by_encoder(grid).items():
                fields = last_of_each((*words[1:], *stages, *grid.fields, f"seed={seed}"))
                argument = ",".join(word for word in (direction, words[0], grid.options) if word)
                folder = workdir / _folder_name(Path(file).stem, argument, fields)
                runs.append(Run(row, direction, seed, file, argument, fields, folder))
    folders: dict[Path, Run] = {}
    for run in runs:
        other = folders.setdefault(run.workdir, run)
        if other is not run:
            raise ValueError(f"Rows {other.row!r} and {run.row!r} are the same run, {run.workdir.name}.")
    return runs


def last_of_each(fields: Sequence[str]) -> tuple[str, ...]:
    """Of several values of one field, the last."""
    return tuple({word.partition("=")[0]: word for word in fields}.values())


def rows_by_encoder(grid: Grid) -> dict[str, tuple[str, ...]]:
    """Rows as (option words, field, …); a row that names no encoder stands once for each of the grid's."""
    rows = {}
    for name, words in grid.rows.items():
        options, fields = (words[0] if words else ""), tuple(words[1:])
        if "encoder=" in options or not grid.encoders:
            rows[name] = (options, *fields)
            continue
        for encoder in grid.encoders:
            label = f"{name}, {encoder}" if len(grid.encoders) > 1 else name
            rows[label] = (",".join(w for w in (options, f"encoder={encoder}") if w), *fields)
    return rows


def _folder_name(stem: str, argument: str, fields: Sequence[str]) -> str:
    """Says what the run computes: the same run of two tables is one folder."""
    named = [field for field in fields if field.partition("=")[0] not in NAMELESS]
    return ",".join([stem, argument, *named]).replace("/", "_").replace(" ", "")


def run_config(run: Run) -> Config:
    """The resolved configuration of a run.

    Raises:
      ValueError: an option or a field is wrong; names the row.
    """
    try:
        config = load_config(f"{run.file}:{run.argument}")
        for word in run.fields:
            set_field(config, word)
        return resolve(config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"Row {run.row!r}, {run.direction}: {error}") from None


def set_field(config: Config, word: str) -> None:
    """Set `section.field=value`, the value read as the field's type, as `--config.section.field=value` is.

    Raises:
      ValueError: no such field, or a value of another type.
    """
    path, equals, text = word.partition("=")
    *sections, name = path.split(".")
    section: Any = config
    for part in [*sections, name]:
        if not isinstance(section, ConfigDict) or part not in section:
            known = suggest(part, section) if isinstance(section, ConfigDict) else ""
            raise ValueError(f"field {word!r}: config has no {path}.{known}")
        holder, section = section, section[part]
    if not equals or isinstance(section, ConfigDict):
        raise ValueError(f"field {word!r}: give FIELD=VALUE, as selection.keep_ratio=0.8.")
    holder[name] = _read(word, text, section)


def _read(word: str, text: str, old: Any) -> Any:
    if isinstance(old, str):
        return text
    if isinstance(old, bool) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # what literal_eval may raise
        value = None
    kind = (int, float) if type(old) is float else type(old)
    if not isinstance(value, kind) or isinstance(value, bool) != isinstance(old, bool):
        raise ValueError(f"field {word!r}: give a {type(old).__name__}.")
    return float(value) if type(old) is float else value  # pyright: ignore[reportArgumentType]
