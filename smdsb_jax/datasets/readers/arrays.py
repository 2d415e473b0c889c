"""Files of numpy: .npy of one array, .npz of several.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import zipfile
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable, check_size

NAMES = ("points", "data", "pos", "xyz", "arr_0")  # of the array of clouds among others
PICKLED = "is pickled, which can run code and is never loaded"


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file, of any shape and type but objects."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # a damaged header makes numpy raise almost anything
        raise Unreadable(_cause(path, error)) from error


def _cause(path: Path, error: Exception) -> str:
    """Say in plain words why numpy could not read it."""
    with path.open("rb") as file:
        start = file.read(6)
    if start[:1] == b"\x80" or "Object arrays" in str(error):
        return PICKLED
    return "truncated or corrupt" if start == b"\x93NUMPY" else "is not an npy file"


def read_npz(path: Path) -> np.ndarray:
    """The only array of an npz file, or the first that has one of `NAMES`."""
    if not zipfile.is_zipfile(path):
        raise Unreadable("truncated or not an npz file")
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        name = names[0] if len(names) == 1 else next((name for name in NAMES if name in names), None)
        if name is None:
            raise Unreadable(
                f"holds {', '.join(sorted(names)) or 'no arrays'}: give one of them the name points"
            )
        size = max(m.file_size for m in archive.zip.infolist() if m.filename in (name, f"{name}.npy"))
        check_size((size,), size)  # which the archive does not exceed
        try:
            array = archive[name]
        except ValueError as error:
            raise Unreadable(PICKLED if "Object arrays" in str(error) else "truncated or corrupt") from error
    if not isinstance(array, np.ndarray):
        raise Unreadable(f"{name!r} is no array")
    return array
