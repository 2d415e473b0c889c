"""The OBJ format of meshes, in text.

http://paulbourke.net/dataformats/obj/ [Wavefront Advanced Visualizer, Appendix B1]
"""

from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.mesh import Mesh, mesh_or_cloud


def read_obj(path: Path) -> Mesh | np.ndarray:
    """Vertices and polygons of all objects together.

    Further statements, as those that name material files, are passed over and open nothing.

    Raises:
      Unreadable: a vertex or face that is none, with its line.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace").replace("\\\n", " ")
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    for line in text.split("\n"):
        word, *values = line.partition("#")[0].split() or [""]
        try:
            if word == "v":
                x, y, z = values[:3]
                vertices.append([float(x), float(y), float(z)])
            elif word == "f":
                corners = [int(value.partition("/")[0]) for value in values]  # vertex/texture/normal
                # counted from 1; negative, backwards from the latest vertex
                polygons.append([n - 1 if n > 0 else len(vertices) + n for n in corners])
        except ValueError:
            raise Unreadable(f"the line {line.strip()[:40]!r} is not understood") from None
    if not vertices:
        raise Unreadable("holds no vertices")
    return mesh_or_cloud(np.array(vertices), polygons)
