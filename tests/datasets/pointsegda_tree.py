"""A stand-in for PointSegDA in its layout: bodies of eight blobs, arms and legs twice; no download."""

import numpy as np

from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.pointsegda import DOMAINS, FOLDER

# Part (1 to 8 as on disk): center and half size of its right side, z up; x = 0: there is one only.
BLOBS = {
    1: ((0, 0, 0.85), (0.1, 0.1, 0.13)),
    2: ((0.85, 0, 0.5), (0.1, 0.03, 0.05)),
    3: ((0.6, 0, 0.5), (0.15, 0.05, 0.05)),
    4: ((0.32, 0, 0.5), (0.15, 0.07, 0.07)),
    5: ((0, 0, 0.3), (0.2, 0.12, 0.4)),
    6: ((0.12, 0, -0.3), (0.1, 0.1, 0.25)),
    7: ((0.12, 0, -0.7), (0.07, 0.07, 0.2)),
    8: ((0.12, -0.07, -0.92), (0.05, 0.14, 0.05)),
}


def write_tree(root, shapes=(3, 1, 2), points=64, seed=0):
    """Write all domains, so many shapes of train, val, test, into `root`/PointSegDAdataset; returns that."""
    rng = np.random.default_rng(seed)
    for domain in DOMAINS:
        for split, count in zip(SPLITS, shapes, strict=True):
            folder = root / FOLDER / domain / split
            folder.mkdir(parents=True)
            for number in range(count):
                np.save(folder / f"{number:03}.npy", body(rng, points))
    return root / FOLDER


def body(rng, points):
    """A body as the files have it: float64 [points, 4] of x, y, z and a label of 1 to 8; all occur."""
    label = rng.permutation(np.arange(points) % 8 + 1)
    center, half = (np.array([BLOBS[k][i] for k in label.tolist()], float) for i in range(2))
    direction = rng.normal(size=(points, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    center[:, 0] *= rng.choice([-1, 1], points)
    place = (center + half * direction) * rng.uniform(0.9, 1.1, 3)
    return np.hstack([place, label[:, None]])
