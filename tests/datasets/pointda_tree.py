"""A stand-in for PointDA-10 in its exact format, from boxes, tubes and blobs; seconds, no download."""

from pathlib import Path

import h5py
import numpy as np

# Class -> parts (kind, center, half size) in the aligned frame: x right, y back, z up.
SHAPES = {
    "bathtub": [("box", (0, 0, -0.2), (1, 0.5, 0.05)), ("tube", (0, 0, 0.1), (1, 0.5, 0.3))],
    "bed": [("box", (0, 0, 0), (1, 0.7, 0.2)), ("box", (-1, 0, 0.3), (0.05, 0.7, 0.5))],
    "bookshelf": [("box", (0, 0, z), (0.5, 0.2, 0.03)) for z in (-1, -0.5, 0, 0.5, 1)],
    "cabinet": [("box", (0, 0, 0), (0.6, 0.4, 0.7))],
    "chair": [("box", (0, 0, 0), (0.4, 0.4, 0.05)), ("box", (0, 0.4, 0.5), (0.4, 0.05, 0.5))],
    "lamp": [("tube", (0, 0, 0), (0.04, 0.04, 1)), ("tube", (0, 0, 1), (0.4, 0.4, 0.25))],
    "monitor": [("box", (0, 0, 0.3), (0.6, 0.04, 0.4)), ("box", (0, 0, -0.3), (0.2, 0.2, 0.03))],
    "plant": [("tube", (0, 0, -0.6), (0.25, 0.25, 0.2)), ("blob", (0, 0, 0.2), (0.5, 0.5, 0.7))],
    "sofa": [("box", (0, 0, 0), (1, 0.4, 0.2)), ("box", (0, 0.4, 0.3), (1, 0.1, 0.4))],
    "table": [("box", (0, 0, 0.4), (0.8, 0.5, 0.04)), ("tube", (0, 0, 0), (0.1, 0.1, 0.4))],
}


def write_tree(root, objects_per_class=12, seed=0):
    """Write modelnet, shapenet and scannet below `root`: so many training objects per class (at least 3,
    else the validation rule empties a class) and a third as many for the test, at least 1. Returns `root`.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    counts = {"train": objects_per_class, "test": max(1, objects_per_class // 3)}
    for split, n in counts.items():
        for name in SHAPES:
            for i in range(n):
                _save(root / "modelnet" / name / split / f"{name}_{i:04}.npy", cloud(name, rng, 2048))
                points = cloud(name, rng, 1024, noise=0.01)
                points = points if name == "plant" else y_up(points)
                _save(root / "shapenet" / name / split / f"{name}_{i:04}.npy", points)
        write_scans(root / "scannet", split, n, rng)
    return root


def write_scans(folder, split, objects_per_class, rng):
    """The objects of a split over two h5 files (test: one), xyz and color, shuffled, float64."""
    folder.mkdir(parents=True, exist_ok=True)
    label = rng.permutation(np.repeat(np.arange(len(SHAPES)), objects_per_class)).astype(np.int32)
    names = list(SHAPES)
    data = np.stack([np.hstack([scanned(names[c], rng), rng.random((2048, 3)) - 0.5]) for c in label])
    pieces = np.array_split(np.arange(len(label)), 2 if split == "train" else 1)
    for i, rows in enumerate(pieces):
        with h5py.File(folder / f"{split}_{i}.h5", "w") as file:
            file["data"], file["label"] = data[rows], label[rows]
    lines = [f"./{split}_{i}.h5\n" for i in range(len(pieces))]
    (folder / f"{split}_files.txt").write_text("".join(lines))


def scanned(name, rng):
    """Seen from one side, off center, y up; 2,048 points drawn with replacement from fewer."""
    points = cloud(name, rng, 2400, noise=0.02)
    side = points[:, :2] @ rng.normal(size=2)
    points = points[side > np.median(side)] + rng.uniform(-2, 2, 3)
    return y_up(points)[rng.integers(0, len(points), 2048)]


def y_up(points):
    """The stored frame of ScanNet and ShapeNet: the inverse of (x, y, z) -> (x, -z, y)."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], 1)


def cloud(name, rng, n, noise=0.0):
    """`n` points on the parts of a class, each object stretched differently."""
    parts = SHAPES[name]
    share = rng.integers(0, len(parts), n)
    points = np.empty((n, 3))
    for k, (kind, center, half) in enumerate(parts):
        points[share == k] = _unit(kind, rng, (share == k).sum()) * half + center
    return (points * rng.uniform(0.8, 1.2, 3) + noise * rng.normal(size=(n, 3))).astype(np.float32)


def _unit(kind, rng, n):
    points = rng.uniform(-1, 1, (n, 3))
    if kind == "box":
        points[np.arange(n), rng.integers(0, 3, n)] = rng.choice([-1, 1], n)
        return points
    if kind == "tube":
        angle = np.pi * points[:, 0]
        return np.stack([np.cos(angle), np.sin(angle), points[:, 2]], 1)
    points = rng.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
