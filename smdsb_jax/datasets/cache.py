"""One uncompressed file per domain, so that a run starts without opening thousands of small ones."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smdsb_jax.datasets.domain import SPLITS, UNLABELLED, Ragged
from smdsb_jax.datasets.readers.base import check_file
from smdsb_jax.files import whole_file

VERSION = 1  # of the file's keys and of what was done to the points

Manifest = dict[str, tuple[int, int]]  # source file -> size in bytes, time of change in whole seconds


class Cached(NamedTuple):
    """What a cache holds."""

    ragged: Ragged
    sources: Manifest
    classes: tuple[str, ...]  # none where the data set itself knows them


def path_of(root: str, domain: str, cache: str = "") -> Path:
    """The file that holds the domain's cache: `cache`/DOMAIN.npz, by default in `root`/cache."""
    return Path(cache or Path(root, "cache"), f"{domain}.npz")


def load(root: str, domain: str, cache: str, files: Sequence[Path]) -> Cached:
    """The cache of a domain, if it is of these files. None: they were removed to save space.

    Raises:
      ValueError: it cannot be read, or the files have changed.
    """
    path = path_of(root, domain, cache)
    flags = f" --data {root}" + (f" --cache {path.parent}" if path.parent != Path(root, "cache") else "")
    remedy = f"Write it again with smdsb prepare{flags}, or delete it."
    found = read(path, remedy)
    change = difference(found.sources, manifest(Path(root), files)) if files else ""
    if change:
        raise ValueError(f"{path} is not of the files in {Path(root, domain)}: {change}. {remedy}")
    return found


def manifest(root: Path, files: Iterable[Path]) -> Manifest:
    """What tells whether the source files are still those that a cache was made from.

    Whole seconds: copies that keep times (`cp -a`, `rsync -a`, `tar`) do so on every file system.
    """
    found = {}
    for path in map(str, files):  # strings: thousands of paths, at each start
        status = os.stat(path)
        found[path.removeprefix(f"{root}{os.sep}")] = (status.st_size, int(status.st_mtime))
    return found


def difference(old: Manifest, new: Manifest) -> str:
    """`2 files removed (first: …), 1 file changed (first: …)`, or nothing."""
    changes = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    }
    return ", ".join(
        f"{len(names)} file{'s' if len(names) > 1 else ''} {what} (first: {names[0]})"
        for what, names in changes.items()
        if names
    )


def write(path: Path, ragged: Ragged, sources: Manifest, classes: Sequence[str] = ()) -> None:
    """Write a cache."""
    lines = "\n".join(f"{size}\t{seconds}\t{name}" for name, (size, seconds) in sorted(sources.items()))
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(
            file,
            version=np.array(VERSION),
            sources=np.frombuffer(lines.encode(), np.uint8),
            classes=np.array(classes, np.str_),
            **{name: array for name, array in ragged._asdict().items() if array is not None},
        )


def read(path: Path, remedy: str) -> Cached:
    """The clouds of a cache, the source files that they came from, and their classes.

    Raises:
      ValueError: truncated or corrupt, or written by another version; with the file's name and `remedy`.
    """
    try:
        check_file(path)
        # opened here: numpy leaves its own open if the archive is bad
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            version = int(file["version"])
            if version != VERSION:
                raise _OtherVersion(f"{path}: a cache of version {version}, not {VERSION}. {remedy}")
            lines = file["sources"].tobytes().decode().splitlines()
            optional = [name for name in Ragged._field_defaults if name in file]
            required = [name for name in Ragged._fields if name not in Ragged._field_defaults]
            ragged = Ragged(**{name: file[name] for name in [*required, *optional]})
            named = file["classes"] if "classes" in file else np.array([], np.str_)  # the first had none
            if named.ndim != 1 or named.dtype.kind != "U":
                raise ValueError("its classes are no names")
            classes = tuple(named.tolist())
            rows = [line.split("\t", 2) for line in lines]
            sources = {name: (int(size), int(seconds)) for size, seconds, name in rows}
    except _OtherVersion:
        raise
    except Exception as error:  # a damaged archive makes zipfile and numpy raise almost anything
        raise ValueError(f"{path}: truncated or not a cache of this library. {remedy}") from error
    if not _fits(ragged, classes):
        raise ValueError(f"{path}: its arrays do not belong together. {remedy}")
    return Cached(ragged, sources, classes)


def _fits(ragged: Ragged, classes: tuple[str, ...]) -> bool:
    """Whether arrays of any shapes and numbers are what `Ragged` says."""
    points, count, label, split, extent, name = ragged
    return bool(
        (points.ndim == 2 and points.shape[1] == 3 and points.dtype.kind == "f" and np.isfinite(points).all())
        and (count.ndim == 1 and count.dtype.kind in "iu" and len(count) and count.min() > 0)
        and (count.astype(np.int64).sum() == len(points))
        and (label.dtype.kind in "iu" and label.shape in (count.shape, points.shape[:1]))
        and (label.min() >= UNLABELLED and (not classes or label.max() < len(classes)))
        and (
            split.dtype.kind in "iu"
            and split.shape == count.shape
            and (np.diff(split.astype(int)) >= 0).all()
        )
        and (split[0] >= 0 and split[-1] < len(SPLITS))
        and (extent is None or (extent.shape == (len(count), 3) and extent.dtype.kind == "f"))
        and (name is None or (name.shape == count.shape and name.dtype.kind == "U"))
    )


class _OtherVersion(ValueError):
    """The file is whole, but not ours to read."""
