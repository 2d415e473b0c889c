"""The PCD format of the Point Cloud Library: text, binary and compressed.

https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

import io
import re
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable, optional

RATIO = 100  # LZF makes a file at most about 90 times smaller


def read_pcd(path: Path) -> np.ndarray:
    """The fields x, y and z, wherever they are among the others.

    Raises:
      MissingPackage: pypcd4.
      Unreadable: missing fields, fewer points than declared.
    """
    pypcd4 = optional("pypcd4", ".pcd")
    content = path.read_bytes()
    _check_sizes(content)
    cloud = pypcd4.PointCloud.from_fileobj(io.BytesIO(content))
    if cloud.pc_data.size != cloud.points:
        raise Unreadable(f"declares {cloud.points} points and holds {cloud.pc_data.size}")
    if not {"x", "y", "z"} <= set(cloud.fields):
        raise Unreadable(f"its fields are {', '.join(cloud.fields)}, not x, y and z")
    return cloud.numpy(("x", "y", "z"))


def _check_sizes(content: bytes) -> None:
    """Before the package takes memory for what the header declares."""
    end = re.search(rb"^DATA\s", content, re.MULTILINE)
    if end is None:
        raise Unreadable("has no header that ends with a line DATA")
    for name, values in re.findall(rb"^(POINTS|COUNT)\s(.*)$", content[: end.start()], re.MULTILINE):
        if any(int(value) > RATIO * len(content) for value in values.split() if value.isdigit()):
            said = f"{name.decode()} {values.decode('ascii', 'replace').strip()[:40]}"
            raise Unreadable(f"declares {said}, more than a file of {len(content)} bytes holds: truncated")
