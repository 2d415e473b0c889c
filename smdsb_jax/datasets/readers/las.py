"""The LAS format of laser scans, and LAZ, the same compressed.

https://www.asprs.org/divisions-committees/lidar-division/laser-las-file-format-exchange-activities
"""

import logging
import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smdsb_jax.datasets.readers.base import Unreadable, check_size, optional

RECORD = 54  # bytes of a variable length record, at least


def read_las(path: Path) -> Float[np.ndarray, "p 3"]:
    """The coordinates in the file's unit: its integers times the scale plus the offset of the header.

    Raises:
      MissingPackage: laspy, or lazrs for a compressed file.
      Unreadable: fewer points than declared.
    """
    package = "laspy[lazrs]"
    laspy = optional("laspy", path.suffix.lower(), package)
    logging.getLogger("laspy").setLevel(logging.CRITICAL)  # it logs each error before it raises it
    _check_records(path)
    with laspy.open(path, read_evlrs=False) as file:
        header = file.header
        size = header.point_count * header.point_format.size
        check_size((header.point_count,), size)
        if header.are_points_compressed:
            optional("lazrs", path.suffix.lower(), package)
            _check_chunks(path, header.offset_to_point_data)
        elif path.stat().st_size < header.offset_to_point_data + size:
            raise Unreadable(f"declares {header.point_count} points and holds fewer: truncated")
        try:
            points = file.read_points(header.point_count)
        except BaseException as error:
            if type(error).__name__ == "PanicException":  # lazrs's own, which is no Exception
                raise Unreadable(f"damaged ({error})") from None
            raise
    return np.stack([points.x, points.y, points.z], axis=1)


def _check_records(path: Path) -> None:
    """Guard laspy, which loops over as many records as the header declares, however short the file is."""
    (records,) = struct.unpack("<I", _bytes(path, 100, 4))
    if records * RECORD > path.stat().st_size:
        raise Unreadable(f"declares {records} records and holds fewer: truncated")


def _check_chunks(path: Path, start: int) -> None:
    """Guard lazrs, which ends the process where memory for all declared chunks is not there."""
    (table,) = struct.unpack("<q", _bytes(path, start, 8))
    if table == -1:  # written as a stream: it stands at the end
        (table,) = struct.unpack("<q", _bytes(path, path.stat().st_size - 8, 8))
    (chunks,) = struct.unpack("<I", _bytes(path, table + 4, 4))
    if chunks > path.stat().st_size:
        raise Unreadable(f"declares {chunks} chunks and holds fewer: truncated")


def _bytes(path: Path, start: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        found = file.read(count)
    if len(found) < count:
        raise Unreadable("truncated")
    return found
