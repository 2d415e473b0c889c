"""A run on the embedded clouds beside its bounds: training on the source alone, and with target labels."""

import csv
from collections.abc import Sequence
from typing import Any, NamedTuple

from smdsb_jax.config import Config, flatten, resolve
from smdsb_jax.configs import embedded  # type: ignore[attr-defined]  # lies in configs/
from smdsb_jax.datasets.embedded import FOLDER
from smdsb_jax.report.tables import Selected

TABLE = FOLDER / "first_run.csv"  # that of docs/first_run
ROWS = {"source_only": "source only", "oracle (trained with target labels)": "with target labels"}
SCORE = "target_test/accuracy"
SHARED = ("data.", "encoder.", "augment.", "optimizer.", "batch_size")  # fields that the runs have in common
WIDTH = 40  # characters of a bar of 100 %


class Bound(NamedTuple):
    """Target test accuracy of other runs, %: mean and sample standard deviation over `seeds` of them."""

    title: str
    mean: float
    std: float
    seeds: int


def bounds(config: Config) -> list[Bound]:
    """Of runs on the same clouds with the network, augmentation and steps of `config`, or none.

    There are those of `configs/embedded.py`, `budget=default`, in the directions of the table `first_run`.
    """
    names = {domain: letter for letter, domain in embedded.DOMAINS.items()}
    direction = "2".join(names.get(config.data[role], "") for role in ("source", "target"))
    with TABLE.open(newline="", encoding="utf-8") as file:
        found = {
            row["row"]: Bound(ROWS[row["row"]], float(row["mean"]), float(row["std"]), int(row["count"]))
            for row in csv.DictReader(file)
            if row["row"] in ROWS and row["direction"] == direction and row["checkpoint"] == "last"
        }
    if not found or _shared(config) != _shared(resolve(embedded.get_config(direction))):
        return []
    return [found[name] for name in ROWS]


def bars(config: Config, rows: Sequence[Selected]) -> list[str]:
    """Lines with a bar for the run's last step and one for each of its bounds; none where it has none.

    Args:
      config: the run's.
      rows: its checkpoints.
    """
    last = [row for row in rows if row.select_by == "last" and SCORE in row.scores]
    if not last or not (found := bounds(config)):
        return []
    own = 100 * max(last, key=lambda row: row.stage).scores[SCORE]
    least, most = found
    values = [(least.title, least.mean, f" ± {least.std:.1f}"), ("this run", own, "")]
    values.append((most.title, most.mean, f" ± {most.std:.1f}"))
    width = max(len(title) for title, *_ in values)
    lines = [f"  {title:{width}} {_bar(mean):{WIDTH}} {mean:5.1f}{spread}" for title, mean, spread in values]
    protocol = f"{least.seeds} seeds of as many steps; configs/tables.py:first_run"
    return [f"\nTarget test accuracy, %, last step, of this run and its bounds ({protocol}):", *lines]


def _shared(config: Config) -> dict[str, Any]:
    flat = {name: value for name, value in flatten(config).items() if name.startswith(SHARED)}
    return flat | {"steps": sum(config[f"stage{stage}"].steps for stage in config.stages)}


def _bar(percent: float) -> str:
    return "█" * round(WIDTH * percent / 100)
