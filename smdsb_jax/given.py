"""Clouds as a user gives them, in any unit and of any size, made those that a data set would store."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.domain import (
    UNLABELLED,
    Split,
    normalize_once,
    to_count,
    without_repeats,
    y_to_z_up,
)
from smdsb_jax.datasets.read import MESH_POINTS, checked_cloud, read_cloud, read_clouds


def given_clouds(clouds: Any, points: int, y_up: bool = False) -> tuple[list[Float[np.ndarray, "_ 3"]], bool]:
    """The coordinates of each cloud, z up, and whether one was given by itself.

    Args:
      clouds: an array [p, C >= 3] or [n, p, C >= 3], a file, or a list of arrays [p, C >= 3] and of files
        of one cloud each.
      points: that the network gets; see `mesh_points`.
      y_up: they have y up.

    Raises:
      ValueError: what is no cloud, by its number or its file; a file of several in a list.
    """
    if isinstance(clouds, str | Path):
        found = read_clouds(Path(clouds).expanduser(), mesh_points=mesh_points(points))
        is_one = len(found) == 1
    else:
        is_one = getattr(clouds, "ndim", 3) == 2
        found = [_one(each, number, points) for number, each in enumerate([clouds] if is_one else clouds)]
    return [y_to_z_up(cloud) for cloud in found] if y_up else found, is_one


class Turn(NamedTuple):
    """Clouds of files that are read before the next ones."""

    names: list[str]
    clouds: list[Float[np.ndarray, "_ 3"]]
    bad: list[str]  # why other files cannot be read


def read_in_turns(
    files: Iterable[Path], points: int, clouds: int = 256, all_points: int = 2**22
) -> Iterator[Turn]:
    """The clouds in files, some at a time, so that memory does not grow with their number.

    Args:
      files: of one cloud or several.
      points: that the network gets; see `mesh_points`.
      clouds: a turn ends with the file that makes it so many,
      all_points: or so many points of all its clouds, 100 MB.
    """
    turn = Turn([], [], [])
    for path in files:
        try:
            found = read_clouds(path, mesh_points=mesh_points(points))
        except ValueError as error:
            turn.bad.append(str(error))
            continue
        name = as_text(str(path))
        turn.names.extend([name] if len(found) == 1 else [f"{name}[{i}]" for i in range(len(found))])
        turn.clouds.extend(found)
        if len(turn.clouds) >= clouds or sum(map(len, turn.clouds)) >= all_points:
            yield turn
            turn = Turn([], [], [])
    if turn.clouds or turn.bad:
        yield turn


def as_text(name: str) -> str:
    """Bytes in a file's name that are no UTF-8 as numbers: they could not be written."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def mesh_points(points: int) -> int:
    """How many points are drawn on a mesh: no fewer than the network gets."""
    return max(MESH_POINTS, points)


def stored_cloud(
    cloud: Float[np.ndarray, "p 3"], points: int, scales: bool = True
) -> Float[np.ndarray, "q 3"]:
    """With `filled_up` points, and normalized if `scales`. What a data set has stored keeps its bits."""
    own = as_stored(cloud, scales)
    return to_count(own, filled_up(len(own), points))


def at_given_points(
    cloud: Float[np.ndarray, "p 3"], of_stored: Float[np.ndarray, "q *of_each"]
) -> Float[np.ndarray, "p *of_each"]:
    """What there is of each point of `stored_cloud(cloud, …)`, for the points of the cloud itself."""
    return to_count(of_stored[: len(without_repeats(cloud))], len(cloud))


def as_stored(cloud: Float[np.ndarray, "p 3"], scales: bool) -> Float[np.ndarray, "q 3"]:
    """The cloud without repeats, normalized if `scales`: not for data sets that leave clouds as they are."""
    own = without_repeats(cloud)
    return normalize_once(own) if scales else own.astype(np.float32)


def filled_up(count: int, points: int) -> int:
    """The least `points` times a power of two that is no less than `count`."""
    return points << max(0, math.ceil(math.log2(count / points)))


def stored_labels(
    labels: Sequence[Any], clouds: Sequence[np.ndarray], stored: Sequence[np.ndarray], classes: int
) -> list[Int[np.ndarray, "*points"]]:
    """The label of each cloud or, where labels are of points, those of the points that are stored.

    Raises:
      ValueError: more or fewer labels than clouds, or than a cloud has points; one that is no class.
    """
    if len(labels) != len(clouds):
        raise ValueError(f"{len(clouds)} clouds have {len(labels)} labels. Give one for each, or None.")
    found = []
    for number, (cloud, each, filled) in enumerate(zip(clouds, labels, stored, strict=True)):
        label = np.asarray(each)
        wrong = label[(label < 0) & (label != UNLABELLED) | (label >= classes)]
        if wrong.size:
            raise ValueError(
                f"cloud {number}: label {wrong[0]} is no class. 0 to {classes - 1} are; {UNLABELLED} is what "
                "the network predicts."
            )
        if label.ndim and len(label) != len(cloud):
            raise ValueError(
                f"cloud {number}: {len(label)} labels of {len(cloud)} points. Give one for each."
            )
        own = to_count(label[: len(without_repeats(cloud))], len(filled)) if label.ndim else label
        found.append(own.astype(np.int32))
    return found


def stored_split(split: Split, points: int, scales: bool = True) -> Split:
    """A split in any unit as a data set would store it, with no fewer points than the network gets.

    Normalized if `scales`.

    One that a data set has stored keeps its bits and its size, so that the same points are drawn of it.

    Raises:
      ValueError: what is no cloud, by its number; no clouds at all.
    """
    if not len(split.label):
        raise ValueError("The split holds no clouds. Give one at least.")
    count = max(split.points.shape[1], points)
    clouds = [_one(cloud, number, points) for number, cloud in enumerate(split.points)]
    stored = np.stack([to_count(as_stored(cloud, scales), count) for cloud in clouds])
    of_points = split.label.ndim > 1
    return Split(stored, np.stack([to_count(x, count) for x in split.label]) if of_points else split.label)


def of_equal_size(
    clouds: Sequence[Float[np.ndarray, "_ 3"]],
) -> Iterator[tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m q 3"]]]:
    """The clouds of each size as one array, and which they are."""
    sizes = np.array([len(cloud) for cloud in clouds], int)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        yield rows, np.stack([clouds[row] for row in rows.tolist()])


def _one(cloud: Any, number: int, points: int) -> Float[np.ndarray, "p 3"]:
    if isinstance(cloud, str | Path):
        return read_cloud(Path(cloud).expanduser(), mesh_points=mesh_points(points))
    return checked_cloud(np.asarray(cloud), f"cloud {number}", "Give arrays (points, 3) or files.")
