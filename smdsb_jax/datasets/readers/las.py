"""The LAS format of laser scans, and LAZ, the same compressed.

https://www.asprs.org/divisions-committees/lidar-division/laser-las-file-format-exchange-activities
"""

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smdsb_jax.datasets.readers.base import Unreadable, check_size, optional


def read_las(path: Path) -> Float[np.ndarray, "p 3"]:
    """The coordinates in the file's unit: its integers times the scale plus the offset of the header.

    Raises:
      MissingPackage: laspy, or lazrs for a compressed file.
      Unreadable: fewer points than declared.
    """
    package = "laspy[lazrs]"
    laspy = optional("laspy", path.suffix.lower(), package)
    logging.getLogger("laspy").setLevel(logging.CRITICAL)  # it logs each error before it raises it
    with laspy.open(path, read_evlrs=False) as file:
        header = file.header
        size = header.point_count * header.point_format.size
        check_size((header.point_count,), size)
        if header.are_points_compressed:
            optional("lazrs", path.suffix.lower(), package)
        elif path.stat().st_size < header.offset_to_point_data + size:
            raise Unreadable(f"declares {header.point_count} points and holds fewer: truncated")
        points = file.read_points(header.point_count)
    return np.stack([points.x, points.y, points.z], axis=1)
