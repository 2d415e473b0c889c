"""What readers share: how they fail, what they take at most, packages that may be missing."""

import importlib
from pathlib import Path
from typing import Any

MOST_BYTES = 2**32  # of one array: a header of a few bytes may declare more than any memory holds


class Unreadable(ValueError):
    """What a reader found wrong with a file: plain words, to follow the file's name and a colon."""


class MissingPackage(Unreadable):
    """A package that reads the format is not installed."""


def check_file(path: Path) -> None:
    """Refuse a pipe, on which reading would wait, and a device, which may never end; a folder says it itself.

    Raises:
      Unreadable: it is one.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise Unreadable("is a pipe or a device, not a file")


def check_size(shape: tuple[int, ...], size: int) -> None:
    """Refuse an array of `size` bytes, before it is read, that is larger than `MOST_BYTES`.

    Raises:
      Unreadable: it is.
    """
    if size > MOST_BYTES:
        raise Unreadable(
            f"declares shape {shape}, {size / 2**30:.0f} GiB; {MOST_BYTES >> 30} GiB are the most"
        )


def optional(module: str, suffix: str, package: str = "") -> Any:
    """A module that only some formats need, imported when a file of them is read.

    Args:
      module: its name.
      suffix: of the format, for the error.
      package: what to install; empty: as the module.

    Raises:
      MissingPackage: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = package or module
        raise MissingPackage(
            f"reading {suffix} needs {module}: pip install 'smdsb_jax[scans]' (or pip install {package})"
        ) from None
