"""One uncompressed file per domain, so that a run starts without opening thousands of small ones."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.domain import Ragged
from smdsb_jax.files import whole_file

VERSION = 1  # of the file's keys and of what was done to the points

Manifest = dict[str, tuple[int, int]]  # source file -> size in bytes, time of change in whole seconds


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


def write(path: Path, ragged: Ragged, sources: Manifest) -> None:
    """Write a cache."""
    lines = "\n".join(f"{size}\t{seconds}\t{name}" for name, (size, seconds) in sorted(sources.items()))
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(
            file,
            version=np.array(VERSION),
            sources=np.frombuffer(lines.encode(), np.uint8),
            **ragged._asdict(),
        )


def read(path: Path, remedy: str) -> tuple[Ragged, Manifest]:
    """The clouds of a cache and the source files that they came from.

    Raises:
      ValueError: truncated or corrupt, or written by another version; with the file's name and `remedy`.
    """
    try:
        # opened here: numpy leaves its own open if the archive is bad
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            version = int(file["version"])
            if version != VERSION:
                raise _OtherVersion(f"{path}: a cache of version {version}, not {VERSION}. {remedy}")
            lines = file["sources"].tobytes().decode().splitlines()
            ragged = Ragged(*(file[name] for name in Ragged._fields))
    except _OtherVersion:
        raise
    except Exception as error:  # a damaged archive makes zipfile and numpy raise almost anything
        raise ValueError(f"{path}: truncated or not a cache of this library. {remedy}") from error
    rows = [line.split("\t", 2) for line in lines]
    return ragged, {name: (int(size), int(seconds)) for size, seconds, name in rows}


class _OtherVersion(ValueError):
    """The file is whole, but not ours to read."""
