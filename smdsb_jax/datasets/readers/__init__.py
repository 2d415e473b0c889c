"""What a file of clouds holds, by its suffix: `Reader`, path -> array or mesh.

An array is [points, columns >= 3] of one cloud or [clouds, points, columns >= 3] of several; the first three
columns are x, y, z. A reader may raise anything for a damaged file: `read.py` says it in one line, checks the
coordinates, and draws points on meshes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.readers.arrays import read_npy, read_npz
from smdsb_jax.datasets.readers.hdf5 import read_hdf5
from smdsb_jax.datasets.readers.las import read_las
from smdsb_jax.datasets.readers.mesh import Mesh
from smdsb_jax.datasets.readers.obj import read_obj
from smdsb_jax.datasets.readers.off import read_off
from smdsb_jax.datasets.readers.pcd import read_pcd
from smdsb_jax.datasets.readers.ply import read_ply
from smdsb_jax.datasets.readers.stl import read_stl
from smdsb_jax.datasets.readers.text import read_text

Reader = Callable[[Path], np.ndarray | Mesh]

READERS: dict[str, Reader] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".ply": read_ply,
    ".off": read_off,
    ".obj": read_obj,
    ".stl": read_stl,
    ".xyz": read_text,
    ".txt": read_text,
    ".csv": read_text,
    ".pts": read_text,
    ".pcd": read_pcd,
    ".las": read_las,
    ".laz": read_las,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
}

__all__ = ["READERS", "Mesh", "Reader"]
