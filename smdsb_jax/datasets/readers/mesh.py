"""Triangle meshes, and points on their surfaces."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer

from smdsb_jax.datasets.readers.base import Unreadable


class Mesh(NamedTuple):
    """Triangles between vertices, in any unit."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]  # rows of `vertices`


def mesh_or_cloud(
    vertices: Float[np.ndarray, "v 3"], polygons: Sequence[Sequence[int]] | Integer[np.ndarray, "f corners"]
) -> Mesh | Float[np.ndarray, "v 3"]:
    """A mesh of the polygons, cut into triangles; without polygons, the vertices are a cloud.

    Raises:
      Unreadable: a corner is none of the vertices.
    """
    if len(polygons) == 0:
        return vertices
    from trimesh.geometry import triangulate_quads  # here: importing it takes a second

    faces = triangulate_quads(polygons).reshape(-1, 3)
    wrong = faces[(faces < 0) | (faces >= len(vertices))]
    if len(wrong):
        raise Unreadable(
            f"a face has corner {wrong[0]}, outside vertices 0..{len(vertices) - 1}, counted from 0"
        )
    return Mesh(vertices, faces)


def sample(mesh: Mesh, count: int, seed: int) -> Float[np.ndarray, "count 3"]:
    """Points drawn uniformly by area; the same mesh and seed give the same points, to the bit.

    [Osada et al., Shape Distributions, 2002, Sec. 4.1]

    Raises:
      Unreadable: the faces have no area.
    """
    from trimesh import Trimesh
    from trimesh.sample import sample_surface

    surface = Trimesh(mesh.vertices, mesh.faces, process=False)
    if not surface.area > 0:
        raise Unreadable("its faces have no area")
    return sample_surface(surface, count, seed=seed)[0]
