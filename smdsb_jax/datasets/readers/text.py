"""Clouds in text, one point a line: .xyz, .txt, .csv and .pts.

Numbers between spaces, tabs, commas or semicolons, as ModelNet40 (x,y,z,nx,ny,nz) and ShapeNetPart
(x y z nx ny nz label) are distributed [Qi et al., PointNet++, arXiv:1706.02413], and as Leica's PTS has them.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from smdsb_jax.datasets.readers.base import Unreadable

COMMENTS = ("#", "//")
AXES = ("x", "y", "z")
SHOWN = 40  # letters of a line in an error


def read_text(path: Path) -> Float[np.ndarray, "p columns"]:
    """The columns named x, y and z where a first line of names has these, else all in their order.

    Lines that begin with # or // are passed over, and so is a first line that holds nothing but the number of
    those behind it.

    Raises:
      Unreadable: no points, another number of points, lines of different lengths, a word among the numbers;
        with the line's number and beginning.
    """
    lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    rows = [row for row, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(COMMENTS)]
    rows = _without_count(lines, rows)
    names = [word.lower() for word in _words(lines[rows[0]])] if rows else []
    has_names = not any(_is_number(name) for name in names)
    rows = rows[has_names:]
    if not rows:
        raise Unreadable("holds no points")
    table = _numbers(lines, rows)
    if not has_names or not set(AXES) <= set(names):
        return table
    if len(names) != table.shape[1]:
        raise Unreadable(f"names {len(names)} columns, and {_told(lines, rows[0])} has {table.shape[1]}")
    return table[:, [names.index(axis) for axis in AXES]]


def _without_count(lines: list[str], rows: list[int]) -> list[int]:
    """The rows without a first one that counts the others."""
    words = [lines[row].split() for row in rows[:2]]
    if len(words) < 2 or len(words[0]) > 1 or not words[0][0].isdecimal() or len(_words(lines[rows[1]])) == 1:
        return rows
    if int(words[0][0]) != len(rows) - 1:
        raise Unreadable(
            f"line {rows[0] + 1} declares {words[0][0]} points, and {len(rows) - 1} lines follow"
        )
    return rows[1:]


def _numbers(lines: list[str], rows: list[int]) -> Float[np.ndarray, "p columns"]:
    """The numbers of these lines."""
    separator = _separator(lines[rows[0]])
    try:
        return np.loadtxt([lines[row] for row in rows], delimiter=separator, quotechar='"', ndmin=2)
    except ValueError:
        count = len(_words(lines[rows[0]]))
        for row in rows:
            words = _words(lines[row])
            wrong = [word for word in words if not _is_number(word)]
            if wrong:
                raise Unreadable(f"{_told(lines, row)} has {wrong[0][:SHOWN]!r} among its numbers") from None
            if len(words) != count:
                said = f"{_told(lines, row)} has {len(words)} values, line {rows[0] + 1} has {count}"
                raise Unreadable(said) from None
        raise


def _told(lines: list[str], row: int) -> str:
    return f"line {row + 1}, {lines[row].strip()[:SHOWN]!r},"


def _separator(line: str) -> str | None:
    """None is any number of spaces and tabs."""
    return next((sign for sign in ";," if sign in line), None)


def _words(line: str) -> list[str]:
    words = line.partition("#")[0].split(_separator(line))
    return [word.strip().strip("\"'") for word in words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
