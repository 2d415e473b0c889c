"""What a run has recorded, as curves: for figures that need no network."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from smdsb_jax.config import flatten, modernize
from smdsb_jax.report.pictures import mark_stage
from smdsb_jax.run.records import RECORDS, read_config, read_records


class Curves(NamedTuple):
    """Values recorded together in one stage."""

    step: Int[np.ndarray, " records"]  # counted on from stage 1 to stage 2
    value: dict[str, Float[np.ndarray, " records"]]  # by what follows the prefix in its name; null is NaN


def recorded(workdir: Path, prefix: str) -> dict[int, Curves]:
    """By stage what a run has recorded under names that begin with `prefix`; {} where it has nothing.

    Records that lack one of the stage's names are left out.
    """
    path = workdir / RECORDS
    stages: dict[int, list[dict[str, Any]]] = {}
    for record in read_records(path) if path.exists() else []:
        own = {name.removeprefix(prefix): v for name, v in record.items() if name.startswith(prefix)}
        if own:
            stages.setdefault(record["stage"], []).append(own | {"step": record["step"]})
    found = {}
    for stage, rows in stages.items():
        names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
        whole = [row for row in rows if row.keys() >= set(names)]
        columns = {name: np.array([row[name] for row in whole], float) for name in names}  # None is NaN
        found[stage] = Curves(np.array([row["step"] for row in whole], int), columns)
    return found


def run_config(workdir: Path) -> dict[str, Any]:
    """The flat configuration that the run has written, with the fields of this revision.

    Raises:
      ValueError: there is none.
    """
    return flatten(modernize(read_config(workdir)))


def run_name(workdir: Path) -> str:
    """The last two folders of its path."""
    return "/".join(workdir.resolve().parts[-2:])


def mark_stage_2(axes: Axes, workdir: Path, stages: Collection[int]) -> None:
    """A dashed line where stage 2 begins, if the run has both."""
    if {1, 2} <= set(stages):
        mark_stage(axes, run_config(workdir)["stage1.steps"], "stage 2")
