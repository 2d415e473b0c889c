"""Read furniture libraries (.sh3f: a zip of OBJ models with a catalogue) and draw points on surfaces."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

CATALOGUE = "PluginFurnitureCatalog.properties"


class Library(NamedTuple):
    """One .sh3f file."""

    archive: zipfile.ZipFile
    entries: dict[str, dict[str, str]]  # model -> its properties in the catalogue


def open_library(folder: Path, name: str) -> Library:
    """Open NAME.sh3f.

    Raises:
      ValueError: no such file.
    """
    path = folder / f"{name}.sh3f"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file. Give the folder usr/share/sweethome3d/furniture of the unpacked Debian "
            "package sweethome3d-furniture."
        )
    archive = zipfile.ZipFile(path)
    numbered: dict[str, dict[str, str]] = {}
    for key, number, value in re.findall(
        r"^(\w+)#(\d+)=(.*)$", archive.read(CATALOGUE).decode("latin1"), re.M
    ):
        numbered.setdefault(number, {})[key] = value.strip()
    return Library(archive, {entry["model"].lstrip("/"): entry for entry in numbered.values()})


def triangles(library: Library, model: str) -> Float[np.ndarray, "t 3 3"]:
    """The model's triangles in meters: x right, y back, z up, standing on z = 0."""
    entry = library.entries[model]
    corners = read_obj(library.archive, model)
    if "modelRotation" in entry:
        rotation = np.array([float(v) for v in entry["modelRotation"].split()]).reshape(3, 3)
        corners = corners @ rotation.T
    corners = np.stack([corners[..., 0], -corners[..., 2], corners[..., 1]], -1)  # y up -> z up
    size = np.array([float(entry[key]) for key in ("width", "depth", "height")]) / 100
    low, high = corners.reshape(-1, 3).min(0), corners.reshape(-1, 3).max(0)
    corners = (corners - (low + high) / 2) * (size / np.maximum(high - low, 1e-9))
    corners[..., 2] += size[2] / 2
    return corners


def elevation(library: Library, model: str) -> float:
    """Height in meters at which the catalogue hangs or stands the model."""
    return float(library.entries[model].get("elevation", 0)) / 100


def read_obj(archive: zipfile.ZipFile, model: str) -> Float[np.ndarray, "t 3 3"]:
    """The triangles of an OBJ file (polygons as fans), without those that are fully transparent."""
    lines = archive.read(model).decode("latin1").splitlines()
    hidden = _hidden_materials(archive, model, lines)
    vertices: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    show = True
    for line in lines:
        if line.startswith("v "):
            vertices.append([float(v) for v in line.split()[1:4]])
        elif line.startswith("usemtl"):
            words = line.split()
            show = len(words) < 2 or words[1] not in hidden
        elif line.startswith("f ") and show:
            index = [int(word.split("/", 1)[0]) for word in line.split()[1:]]
            index = [i - 1 if i > 0 else len(vertices) + i for i in index]
            faces.extend((index[0], index[i], index[i + 1]) for i in range(1, len(index) - 1))
    return np.asarray(vertices)[np.asarray(faces)]


def _hidden_materials(archive: zipfile.ZipFile, model: str, lines: Sequence[str]) -> set[str]:
    names: set[str] = set()
    files = set(archive.namelist())
    for line in lines:
        if not line.startswith("mtllib"):
            continue
        path = f"{PurePosixPath(model).parent}/{line.split(None, 1)[1].strip()}"
        if path not in files:
            continue
        current = ""
        for material in archive.read(path).decode("latin1").splitlines():
            words = material.split()
            if len(words) >= 2 and words[0] == "newmtl":
                current = words[1]
            elif len(words) >= 2 and words[0] == "d" and float(words[1]) < 0.05:
                names.add(current)
    return names


def sample_surface(
    corners: Float[np.ndarray, "t 3 3"], n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """`n` points uniform by area, and the index of the triangle of each."""
    sums = np.cumsum(np.linalg.norm(_cross(corners), axis=1) / 2)
    pick = np.searchsorted(sums, rng.random(n) * sums[-1]).clip(0, len(corners) - 1)
    u, v = rng.random(n), rng.random(n)
    flip = u + v > 1
    u[flip], v[flip] = 1 - u[flip], 1 - v[flip]
    a, b, c = corners[pick, 0], corners[pick, 1], corners[pick, 2]
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), pick


def unit_normals(corners: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 3"]:
    """Of each triangle; zero where it has no area."""
    cross = _cross(corners)
    return cross / np.maximum(np.linalg.norm(cross, axis=1), 1e-12)[:, None]


def _cross(corners: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 3"]:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def sample_edges(
    corners: Float[np.ndarray, "t 3 3"], n: int, rng: np.random.Generator
) -> Float[np.ndarray, "n 3"]:
    """`n` points on triangle edges, uniform by length (the drawn lines of the mesh)."""
    a, b = corners.reshape(-1, 3), corners[:, [1, 2, 0]].reshape(-1, 3)
    sums = np.cumsum(np.linalg.norm(b - a, axis=1))
    pick = np.searchsorted(sums, rng.random(n) * sums[-1]).clip(0, len(a) - 1)
    t = rng.random((n, 1))
    return a[pick] * (1 - t) + b[pick] * t


def outer_points(
    points: Float[np.ndarray, "n 3"], views: int = 40, pixels: int = 72, slack: float = 0.03
) -> Bool[np.ndarray, " n"]:
    """Which points are seen from outside from at least one of `views` directions on a spiral."""
    p = points - (points.min(0) + points.max(0)) / 2
    p = p / np.linalg.norm(p, axis=1).max()
    seen = np.zeros(len(p), bool)
    k = np.arange(views) + 0.5
    theta, cosine = np.pi * (1 + 5**0.5) * k, 1 - 2 * k / views
    sine = np.sqrt(1 - cosine**2)
    for direction in np.stack([sine * np.cos(theta), sine * np.sin(theta), cosine], 1):
        a = np.cross(direction, [0.0, 0, 1] if abs(direction[2]) < 0.9 else [1.0, 0, 0])
        a /= np.linalg.norm(a)
        b = np.cross(direction, a)
        cell = (((p @ a) * 0.5 + 0.5) * pixels).astype(int).clip(0, pixels - 1) * pixels
        cell += (((p @ b) * 0.5 + 0.5) * pixels).astype(int).clip(0, pixels - 1)
        depth = p @ direction
        front = np.full(pixels * pixels, -9.0)
        np.maximum.at(front, cell, depth)
        seen |= depth > front[cell] - slack
    return seen


def farthest_points(
    points: Float[np.ndarray, "p 3"], n: int, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """Indices of `n` points, each the farthest from those before; the first is random."""
    chosen = np.empty(n, int)
    chosen[0] = rng.integers(len(points))
    squared = np.full(len(points), np.inf)
    for i in range(1, n):
        squared = np.minimum(squared, ((points - points[chosen[i - 1]]) ** 2).sum(1))
        chosen[i] = squared.argmax()
    return chosen
