"""The PLY format of clouds and meshes, in text or binary of either byte order.

http://paulbourke.net/dataformats/ply/ [Turk, The PLY Polygon File Format, 1994]
"""

import io
import re
import warnings
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.mesh import Mesh, mesh_or_cloud

CORNERS = ("vertex_indices", "vertex_index")


def read_ply(path: Path) -> Mesh | np.ndarray:
    """The coordinates, and the polygons if there are some; further properties are passed over.

    Raises:
      Unreadable: a file that plyfile does not understand, missing coordinates, fewer rows than declared.
    """
    from plyfile import PlyData, PlyParseError

    content = path.read_bytes()
    _check_counts(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty list in text
            data = PlyData.read(io.BytesIO(content), mmap="")  # into memory
    except PlyParseError as error:
        raise Unreadable(f"truncated or not a PLY file ({error})") from None
    elements = {element.name: element for element in data.elements}
    names = [each.name for each in elements["vertex"].properties] if "vertex" in elements else []
    if not {"x", "y", "z"} <= set(names):
        raise Unreadable(f"its vertices have {', '.join(names) or 'nothing'}, not x, y and z")
    points = np.stack([elements["vertex"][axis] for axis in "xyz"], axis=1)
    if "face" not in elements or not elements["face"].count:
        return points
    held = [each.name for each in elements["face"].properties]
    name = next((name for name in CORNERS if name in held), None)
    if name is None:
        raise Unreadable(f"its faces have {', '.join(held)}, not {' or '.join(CORNERS)}")
    return mesh_or_cloud(points, [corners.tolist() for corners in elements["face"][name]])


def _check_counts(content: bytes) -> None:
    """Before the package takes memory for what the header declares: a row has a byte at least."""
    header = content.partition(b"end_header")[0]
    for name, count in re.findall(rb"^element\s+(\S+)\s+(-?\d+)", header, re.MULTILINE):
        if not 0 <= int(count) <= len(content):
            declared = f"{int(count)} rows of element {name.decode('utf-8', 'replace')[:40]}"
            raise Unreadable(f"declares {declared}, and has {len(content)} bytes: truncated")
