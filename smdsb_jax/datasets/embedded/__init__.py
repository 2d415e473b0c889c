"""The data set that comes with the library: furniture point clouds in three domains (see README.md).

Small and real, for trying things out and for comparing settings of one's own; not a benchmark.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped

from smdsb_jax.datasets.domain import SPLITS, Domain, Ragged, assemble, normalize
from smdsb_jax.registry import suggest

DOMAINS = ("catalog", "blend", "scan")
FOLDS = 4  # the rarest class has as many objects to train and validate on
FOLDER = Path(__file__).parent


def load(root: str, domain: str, *, points: int, fold: int = 0) -> Domain:
    """One domain of the shipped data: 430 train, 65 val and 174 test clouds of 1,024 points.

    The 65 clouds of validation show 8 or 9 objects. In fold 1 to 4 a quarter of each class's objects that
    are not for the test validates, about 124 clouds: the mean of four such runs tells more.

    The stored coordinates are rounded to 1/256 of the radius; they are centered and scaled again here.
    [Models: the furniture libraries of Sweet Home 3D, https://www.sweethome3d.com; credits in ATTRIBUTION.md]

    Args:
      root: not used; the files are in this package.
      domain: catalog (CAD), blend (CAD of other authors) or scan (simulated depth camera).
      points: that the network will see; above 1,024, points are repeated.
      fold: 0, the split of the files, or 1 to 4; the test split is the same in all.

    Raises:
      ValueError: no domain of this name, or no such fold.
    """
    del root
    if domain not in DOMAINS:
        raise ValueError(f"The embedded data set has no domain {domain!r}.{suggest(domain, DOMAINS)}")
    if fold not in range(FOLDS + 1):
        raise ValueError(
            f"config.data.fold = {fold}: 0 is the split of the files, 1 to {FOLDS} are the folds."
        )
    return load_file(FOLDER / f"{domain}.npz", points, fold)


def load_file(path: Path, points: int, fold: int = 0) -> Domain:
    """The domain of a file as `build.save` writes it; its labels are of clouds, or of points (no folds)."""
    with np.load(path, allow_pickle=False) as file:
        clouds, label, split, classes = (file[key] for key in ("points", "label", "split", "classes"))
        if fold:
            split = fold_split(label, file["object"], split, fold)
    order = np.argsort(split, kind="stable")
    clouds = normalize(clouds[order].astype(np.float32))
    count = np.full(len(clouds), clouds.shape[1], np.int32)
    ragged = Ragged(clouds.reshape(-1, 3), count, label[order].ravel().astype(np.int32), split[order])
    return assemble(path.stem, tuple(classes.tolist()), ragged, points)


def fold_split(
    label: Integer[np.ndarray, " n"],
    objects: Shaped[np.ndarray, " n"],
    split: Integer[np.ndarray, " n"],
    fold: int,
) -> Integer[np.ndarray, " n"]:
    """The split in which one quarter of each class's objects that are not for the test validates.

    Quarters are of names in order, since models of one series have similar names: few are on both sides. The
    first quarters are the larger ones, so each class begins with another.
    """
    test = SPLITS.index("test")
    free = ((label == c) & (split != test) for c in np.unique(label))
    quarters = (np.array_split(np.unique(objects[of_class]), FOLDS) for of_class in free)
    held = [of_class[(fold + c) % FOLDS] for c, of_class in enumerate(quarters)]
    return np.where(split == test, test, np.isin(objects, np.concatenate(held)))
