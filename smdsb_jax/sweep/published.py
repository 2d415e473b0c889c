"""Printed values of the SM-DSB paper's tables of classification, and their averages [arXiv:2504.15796]."""

import csv
from importlib import resources
from typing import NamedTuple

import numpy as np

DIRECTIONS = {  # column of the files → direction of configs/pointda.py (r is ScanNet, the paper's s*)
    "M_to_S": "m2s", "M_to_Sstar": "m2r", "S_to_M": "s2m",
    "S_to_Sstar": "s2r", "Sstar_to_M": "r2m", "Sstar_to_S": "r2s",
}  # fmt: skip
TOLERANCE = 0.06  # half of a last digit, and a little: beyond it a printed average is a mistake


class Published(NamedTuple):
    """One printed row, in %."""

    values: dict[str, float]  # direction → target test accuracy; some rows of the text have one alone
    average: float | None  # as printed

    @property
    def recomputed(self) -> float:
        """The arithmetic mean of the printed values."""
        return float(np.mean(list(self.values.values())))


def published(table: str) -> dict[str, Published]:
    """The rows of `table1` or `table3` by their names; those of table3 as `method, backbone`."""
    text = resources.files("smdsb_jax.sweep").joinpath(f"published_{table}.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = {}
    for line in csv.DictReader(lines):
        name = ", ".join(line[key] for key in ("method", "backbone") if key in line)
        values = {d: float(line[column]) for column, d in DIRECTIONS.items() if line[column]}
        rows[name] = Published(values, float(line["avg_printed"]) if line["avg_printed"] else None)
    return rows


def average_text(row: Published) -> str:
    """The printed average, if any, with the recomputed one beside it where they differ beyond rounding."""
    if row.average is None:
        return ""
    if abs(row.average - row.recomputed) <= TOLERANCE:
        return f"{row.average:.1f}"
    return f"{row.average:.1f} (recomputed {row.recomputed:.2f})"
