"""Printed values of the SM-DSB paper's tables, and their averages [arXiv:2504.15796]."""

import csv
from importlib import resources
from typing import NamedTuple

import numpy as np

TOLERANCE = 0.06  # half of a last digit, and a little: beyond it a printed average is a mistake


class Published(NamedTuple):
    """One printed row, in %."""

    values: dict[str, float]  # direction → target test score; some rows of the text have one alone
    average: float | None  # as printed

    @property
    def recomputed(self) -> float:
        """The arithmetic mean of the printed values."""
        return float(np.mean(list(self.values.values())))


def published(table: str) -> dict[str, Published]:
    """The rows of `table1`, `table2` or `table3` by their names; those of table3 as `method, backbone`."""
    text = resources.files("smdsb_jax.sweep").joinpath(f"published_{table}.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = {}
    for line in csv.DictReader(lines):
        name = ", ".join(line[key] for key in ("method", "backbone") if key in line)
        values = {direction_of(key): float(line[key]) for key in line if "_to_" in key and line[key]}
        rows[name] = Published(values, float(line["avg_printed"]) if line["avg_printed"] else None)
    return rows


def direction_of(column: str) -> str:
    """`m2r` of `M_to_Sstar`, as the configuration files have it: the paper's S* is their r."""
    return column.lower().replace("sstar", "r").replace("_to_", "2")


def average_text(row: Published) -> str:
    """The printed average, if any, with the recomputed one beside it where they differ beyond rounding."""
    if row.average is None:
        return ""
    if abs(row.average - row.recomputed) <= TOLERANCE:
        return f"{row.average:.1f}"
    return f"{row.average:.1f} (recomputed {row.recomputed:.2f})"
