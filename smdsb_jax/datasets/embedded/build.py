"""Rebuild catalog.npz, blend.npz and scan.npz from the furniture libraries (about 3 minutes).

apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb unpacked
python -m smdsb_jax.datasets.embedded.build unpacked/usr/share/sweethome3d/furniture OUT_FOLDER

The choice of objects, classes and splits is objects.csv, made by hand; everything else is drawn from
seeds fixed per object. Bytes repeat with the same numpy and zlib.
"""

import argparse
import csv
import zipfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.embedded import DOMAINS, FOLDER, mesh
from smdsb_jax.datasets.embedded.deform import Points, deformation
from smdsb_jax.datasets.embedded.depth_camera import scan

POINTS = 1024
FEWEST = 200  # points of a scan; below, the camera looks again
COUNTS = {  # clouds per class and split, shared out over the objects of the class
    "train": {"bed": 44, "cabinet": 64, "chair": 90, "lamp": 46, "plant": 62, "sofa": 54, "table": 70},
    "val": {"bed": 8, "cabinet": 10, "chair": 12, "lamp": 8, "plant": 9, "sofa": 8, "table": 10},
    "test": {"bed": 20, "cabinet": 24, "chair": 36, "lamp": 20, "plant": 24, "sofa": 22, "table": 28},
}

Row = dict[str, str]


def object_rows() -> list[Row]:
    """objects.csv: one row per object with its library, model, class, domain, split and creator."""
    with (FOLDER / "objects.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def object_name(row: Row) -> str:
    """`library/model`, as in the key `object` of the files."""
    return f"{row['library']}/{PurePosixPath(row['model']).stem}"


def build(domain: str, furniture: Path) -> dict[str, np.ndarray]:
    """The arrays of one domain's file, from the folder of the .sh3f files."""
    rows = [row for row in object_rows() if row["domain"] == domain]
    classes = sorted({row["class"] for row in rows})
    library = cache(lambda name: mesh.open_library(furniture, name))
    points, label, split, names = [], [], [], []
    for s, split_name in enumerate(SPLITS):
        for c, class_name in enumerate(classes):
            part = [row for row in rows if (row["class"], row["split"]) == (class_name, split_name)]
            each, rest = divmod(COUNTS[split_name][class_name], len(part))
            for i, row in enumerate(part):
                clouds = variants(row, library(row["library"]), each + (i < rest))
                points += clouds
                label += [c] * len(clouds)
                split += [s] * len(clouds)
                names += [object_name(row)] * len(clouds)
    return {
        "points": np.stack(points),
        "label": np.array(label, np.uint8),
        "split": np.array(split, np.uint8),
        "object": np.array(names),
        "classes": np.array(classes),
    }


def variants(row: Row, library: mesh.Library, n: int) -> list[Float[np.ndarray, "p 3"]]:
    """`n` clouds of one object, each a deformation of its own, as its domain sees it."""
    rng = np.random.default_rng(zlib.crc32((row["domain"] + object_name(row)).encode()))
    corners = mesh.triangles(library, row["model"])
    if row["domain"] == "catalog":
        surface, _ = mesh.sample_surface(corners, 30_000, rng)
        clouds = (_uniform(surface, rng) for _ in range(n))
    elif row["domain"] == "blend":
        surface, _ = mesh.sample_surface(corners, 24_000, rng)
        pool = np.concatenate([surface, mesh.sample_edges(corners, 6_000, rng)])
        outside = pool[mesh.outer_points(pool)]
        clouds = (_farthest(outside, rng) for _ in range(n))
    else:
        surface, triangle = mesh.sample_surface(corners, 160_000, rng)
        normals = mesh.unit_normals(corners)[triangle]
        height = mesh.elevation(library, row["model"])
        clouds = (_scanned(surface, normals, height, rng) for _ in range(n))
    return [tidy(_unit_sphere(cloud)) for cloud in clouds]


def _uniform(pool: Points, rng: np.random.Generator) -> Points:
    points = pool[rng.choice(len(pool), POINTS, replace=False)]
    return deformation(points, rng)(points)


def _farthest(pool: Points, rng: np.random.Generator) -> Points:
    points = pool[rng.choice(len(pool), min(3 * POINTS, len(pool)), replace=False)]
    points = deformation(points, rng)(points)
    return points[mesh.farthest_points(points, POINTS, rng)]


def _scanned(pool: Points, normals: Points, elevation: float, rng: np.random.Generator) -> Points:
    points = scan(pool, normals, elevation, rng)
    for _ in range(19):
        if len(points) >= FEWEST:
            break
        points = scan(pool, normals, elevation, rng)
    return points[rng.choice(len(points), POINTS, replace=len(points) < POINTS)]


def _unit_sphere(points: Points) -> Points:
    points = points - points.mean(0)
    return points / np.linalg.norm(points, axis=1).max()


def tidy(points: Points) -> Float[np.ndarray, "n 3"]:
    """Round to 1/256, finer than the spacing of the points, and sort along a Morton curve.

    Both only make the file small: a cloud is a set.
    """
    return (_in_steps(points[curve_order(points)]) / 256).astype(np.float16)


def curve_order(points: Points) -> Int[np.ndarray, " n"]:
    """The order of `tidy`, in which what belongs to the points follows them."""
    steps = _in_steps(points)
    code = np.zeros(len(steps), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= (((steps[:, axis] + 256) >> bit) & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")


def _in_steps(points: Points) -> Int[np.ndarray, "n 3"]:
    return np.round(points * 256).astype(np.int64)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed .npz with fixed time stamps, so that its bytes repeat."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, value in arrays.items():
            info = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as file:
                np.lib.format.write_array(file, value, allow_pickle=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m smdsb_jax.datasets.embedded.build", description=__doc__)
    parser.add_argument("furniture", type=Path, help="folder of the .sh3f files")
    parser.add_argument("out", type=Path, help="folder for the .npz files")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS, help="all by default")
    flags = parser.parse_args(arguments)
    flags.out.mkdir(parents=True, exist_ok=True)
    for domain in flags.domains:
        path = flags.out / f"{domain}.npz"
        save(path, build(domain, flags.furniture))
        print(f"{path}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
