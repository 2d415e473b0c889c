"""The STL format of meshes, in text or binary.

https://www.fabbers.com/tech/STL_Format
"""

import io
import logging
import warnings
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.mesh import Mesh


def read_stl(path: Path) -> Mesh:
    """The triangles of all solids together.

    Raises:
      Unreadable: neither the length of a binary file nor a text with a whole solid.
    """
    from trimesh.exchange.stl import (
        HeaderError,
        load_stl_ascii,
        load_stl_binary,
    )  # here: importing it takes a second

    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # it logs the traceback of normals it cannot read
    content = path.read_bytes()
    try:
        found = load_stl_binary(io.BytesIO(content))
    except HeaderError:  # another length than a binary file has
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of a word among numbers
            found = load_stl_ascii(io.StringIO(content.decode("utf-8", "replace")))
    solids = [found] if "vertices" in found else list(found["geometry"].values())
    if not solids:
        raise Unreadable("truncated or without triangles")
    vertices = np.concatenate([solid["vertices"] for solid in solids])
    return Mesh(vertices, np.arange(len(vertices)).reshape(-1, 3))  # three of its own for each triangle
