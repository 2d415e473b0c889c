"""PointSegDA as published: human bodies from four sources, each point with the label of its body part.

Layout, labels and splits are those of the loader of DefRec [Achituve et al., arXiv:2003.12641],
https://github.com/IdanAchituve/DefRec_and_PCM. The meshes are those of Maron et al. 2017: Adobe Fuse, FAUST,
MIT animation captures and SCAPE.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.domain import (
    SPLITS,
    Domain,
    Progress,
    Ragged,
    assemble,
    collect,
    normalize,
    read_all,
)
from smdsb_jax.datasets.read import read_labelled_npy
from smdsb_jax.registry import lookup, suggest

DOMAINS = ("adobe", "faust", "mit", "scape")
PARTS = ("head", "hand", "forearm", "upper arm", "torso", "thigh", "shin", "foot")  # left and right alike
FOLDER = "PointSegDAdataset"  # of the published archive
LAYOUT = "{adobe,faust,mit,scape}/{train,val,test}/*.npy"


def as_they_are(cloud: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """The coordinates of the file, rounded to float32."""
    return cloud.astype(np.float32)


NORMALIZE: dict[str, Callable[[Float[np.ndarray, "p 3"]], Float[np.ndarray, "p 3"]]] = {
    "none": as_they_are,
    "unit_sphere": normalize,
}


def load(root: str, domain: str, *, points: int, normalize: str = "none") -> Domain:
    """One domain of PointSegDA: z is up, a label for each point, splits as published.

    A file is a shape, an array [points, columns >= 4] of x, y, z, label; further columns are ignored. Labels
    1 to 8 become 0 to 7, in the order of `PARTS`. Shapes come sorted by file name; the published loader takes
    them in the order of the file system, which differs between machines.

    Args:
      root: folder PointSegDAdataset of the published archive, or the folder that it lies in.
      domain: adobe, faust, mit or scape.
      points: that the network will see; no shape may have fewer.
      normalize: `none` leaves the coordinates as they are, as the published loaders do: the files have one
        scale already. `unit_sphere` centers each shape and scales it to the unit sphere, for shapes of other
        origin in the same layout.

    Raises:
      ValueError: an unknown domain or normalization, a missing folder, an empty split, a bad file, a shape
        with fewer points.
    """
    return assemble(domain, PARTS, read(root, domain, points=points, normalize=normalize), points)


def read(
    root: str, domain: str, progress: Progress = iter, *, points: int = 1, normalize: str = "none"
) -> Ragged:
    """The files of a domain, as `load` describes them.

    Args:
      root: as `load`.
      domain: as `load`.
      progress: wraps the list of files.
      points: a shape with fewer is refused.
      normalize: as `load`.

    Raises:
      ValueError: as `load`; the message counts further bad files.
    """
    normalized = lookup(NORMALIZE, normalize, "config.data.normalize")
    files, folder = sources(root, domain), folder_of(root) / domain
    remedy = f"Re-extract the archive; smdsb prepare --data {root} --verify checks all of it."

    def read_one(path: Path) -> tuple[Float[np.ndarray, "p 3"], Int[np.ndarray, " p"]]:
        cloud, label = read_labelled_npy(path, len(PARTS), remedy)
        if len(cloud) < points:
            raise ValueError(
                f"{path}: {len(cloud)} points, fewer than config.data.points = {points}. Give that many or "
                "fewer there, or remove the shape."
            )
        return cloud, label

    found = read_all(files, read_one, folder, progress)
    clouds = [cloud for cloud, _ in found]
    return collect(
        [normalized(cloud) for cloud in clouds],
        [label for _, label in found],
        [SPLITS.index(path.parent.name) for path in files],
        folder,
        extent=[np.ptp(cloud, axis=0) for cloud in clouds],
        name=[f"{path.parent.name}/{path.name}" for path in files],
    )


def sources(root: str, domain: str) -> list[Path]:
    """The files of a domain: train, val, test, each sorted by name.

    Raises:
      ValueError: an unknown domain, a missing folder, a split without files.
    """
    if domain not in DOMAINS:
        raise ValueError(f"PointSegDA has no domain {domain!r}.{suggest(domain, DOMAINS)}")
    if not root:
        raise ValueError(f"config.data.root is empty: give the folder {FOLDER}, which holds {LAYOUT}.")
    files, folder = listing(root, domain), folder_of(root) / domain
    splits = {path.parent.name for path in files}
    for split in SPLITS:
        if split not in splits:
            place = folder / split if folder.is_dir() else folder
            state = "holds no .npy files" if place.is_dir() else "is missing"
            raise ValueError(
                f"{place} {state}. Expected {folder_of(root) / LAYOUT}, the published PointSegDA. Without "
                "it, train on the data that comes with the library: --config configs/bodies.py:m2s"
            )
    return files


def listing(root: str, domain: str) -> list[Path]:
    """The files of a domain as `sources`, or as many as there are."""
    folder = folder_of(root) / domain
    files = [path for split in SPLITS for path in sorted((folder / split).glob("*.npy"), key=str)]
    return [path for path in files if not path.name.startswith(".")]


def folder_of(root: str) -> Path:
    """The folder of the domains: PointSegDAdataset in `root`, or `root` itself."""
    inside = Path(root, FOLDER)
    return inside if inside.is_dir() else Path(root)
