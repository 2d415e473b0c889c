"""The OFF format of meshes, in text.

http://www.geomview.org/docs/html/OFF.html
"""

import re
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.mesh import Mesh, mesh_or_cloud

# ModelNet40 has files in which the counts follow the keyword without a space: OFF490 518 0
HEADER = re.compile(r"\s*(?:ST)?C?N?OFF\s*(\d+)\s+(\d+)(?:\s+\d+)?\s*?(?:\n|$)")


def read_off(path: Path) -> Mesh | np.ndarray:
    """Vertices, one a line, and polygons, one a line; normals and colors are passed over.

    Raises:
      Unreadable: another beginning, or fewer lines than it declares.
    """
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8-sig", errors="replace"))
    header = HEADER.match(text)
    if header is None:
        raise Unreadable("does not begin with OFF and the numbers of vertices and faces")
    vertices, faces = int(header[1]), int(header[2])
    lines = [line for line in text[header.end() :].split("\n") if line.strip()]
    if len(lines) < vertices + faces:
        raise Unreadable(
            f"declares {vertices} vertices and {faces} faces, and {len(lines)} lines follow: truncated"
        )
    if vertices == 0:
        raise Unreadable("holds no vertices")
    points = np.loadtxt(lines[:vertices], usecols=(0, 1, 2), ndmin=2)
    return mesh_or_cloud(points, [_corners(line) for line in lines[vertices : vertices + faces]])


def _corners(line: str) -> list[int]:
    count, *others = line.split()
    corners = [int(word) for word in others[: int(count)]]
    if len(corners) != int(count):
        raise Unreadable(f"the face {line.strip()[:40]!r} has not the {count} corners that it declares")
    return corners
