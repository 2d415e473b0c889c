"""A data set of your own: `root/domain/split/class/*.npy`, or `split/*.npy` without labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from smdsb_jax.datasets.domain import SPLITS, UNLABELLED, Domain, assemble, collect, normalize
from smdsb_jax.datasets.read import find_clouds, read_cloud
from smdsb_jax.registry import suggest

LAYOUT = "{train,test}/<class>/*.npy (and val/<class>/*.npy, if you divide the train split yourself)"
UNLABELLED_FOLDER = "unlabelled"  # among the class folders: clouds whose class nobody knows
INSTEAD = " Without it, train on the data that comes with the library: --config configs/embedded.py:c2s"


def load(root: str, domain: str, *, points: int) -> Domain:
    """One domain from a folder of npy files, one cloud [P, C >= 3] each; columns 0 to 2 are x, y, z.

    Each cloud is centered and scaled to the unit sphere, and otherwise taken as it is: turn your objects
    so that z is up before you save them. Classes are the sorted folder names of the train split. Without
    a val folder, a fifth of each class's training clouds validates (`validates`).
    [The file format of PointDA-10: PointDAN, arXiv:1911.02744]

    A target needs no labels: `train/*.npy`, or `train/unlabelled/*.npy` beside class folders. Where train
    has no class folders, the classes are those of val and test, if they have some. A target may also lack
    some of the source's classes, and a test folder.

    Args:
      root: folder of the domains.
      domain: name of one of them.
      points: that the network will see; shorter clouds repeat theirs (see `stack`).

    Raises:
      ValueError: a missing folder, a bad file, a class that train lacks, an empty class, clouds beside
        class folders.
    """
    if not root:
        raise ValueError(
            f"config.data.root is empty: give the folder that holds {Path(domain, LAYOUT)}.{INSTEAD}"
        )
    folder = Path(root, domain)
    if not (folder / "train").is_dir():
        known = [p.name for p in Path(root).iterdir() if p.is_dir()] if Path(root).is_dir() else []
        near = suggest(domain, known) if known and domain not in known else INSTEAD
        raise ValueError(f"{folder} has no train folder. Expected {folder / LAYOUT}.{near}")
    classes = _classes(folder)
    clouds: list[Float[np.ndarray, "p 3"]] = []
    label: list[int] = []
    split: list[int] = []
    for code, name in enumerate(SPLITS):
        files = _files(folder / name, classes)
        clouds += [normalize(read_cloud(path)) for path in files]
        label_here = [_label(path, folder / name, classes) for path in files]
        label += label_here
        divide = name == "train" and not (folder / "val").is_dir()
        split += train_or_val_by_class(label_here) if divide else [code] * len(files)
    if not clouds:
        raise ValueError(f"{folder} holds no clouds. Expected {folder / LAYOUT}.{INSTEAD}")
    return assemble(domain, classes, collect(clouds, label, split, folder), points)


def validates(n: int) -> Bool[np.ndarray, " n"]:
    """Which of a class's `n` training clouds, in listing order, validate: a fifth, evenly spaced.

    Those k where floor((k + 1) v / n) > floor(k v / n), of v = floor(n / 5 + 1/2); at least one, but one is
    left to train on. By PointDA-10's rule, which numbers all classes together, small ones would have none.
    """
    count = min(max((n + 2) // 5, 1), n - 1)
    return np.diff(np.arange(n + 1) * count // max(n, 1)) > 0


def train_or_val_by_class(label: Sequence[int]) -> list[int]:
    """Split codes of training clouds in listing order, by `validates` within each class.

    Clouds without a label all train: they could not validate anything.
    """
    labels = np.asarray(label, int)
    split = np.full(len(labels), SPLITS.index("train"))
    for each in np.unique(labels[labels != UNLABELLED]):
        rows = np.flatnonzero(labels == each)
        split[rows[validates(len(rows))]] = SPLITS.index("val")
    return split.tolist()


def _subfolders(folder: Path) -> list[str]:
    visible = (p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else ()
    return sorted(p.name for p in visible if p.is_dir())


def _classes(folder: Path) -> tuple[str, ...]:
    """Those of the train split; where it has no labels, those of the others."""
    found = {name: set(_subfolders(folder / name)) - {UNLABELLED_FOLDER} for name in SPLITS}
    return tuple(sorted(found["train"] or found["val"] | found["test"]))


def _label(path: Path, split: Path, classes: tuple[str, ...]) -> int:
    """By the folder of the file, unless that is the split itself."""
    has_class = path.parent != split and path.parent.name != UNLABELLED_FOLDER
    return classes.index(path.parent.name) if has_class else UNLABELLED


def _files(folder: Path, classes: tuple[str, ...]) -> list[Path]:
    unknown = [name for name in _subfolders(folder) if name not in (*classes, UNLABELLED_FOLDER)]
    if unknown:
        raise ValueError(
            f"{folder / unknown[0]} is a class that the train split lacks (it has {', '.join(classes)}). "
            "Rename or remove the folder."
        )
    subfolders = _subfolders(folder)
    folders = [folder, *(folder / name for name in subfolders)] if folder.is_dir() else []
    paths = [path for each in folders for path in find_clouds(each)[0]]
    loose = [path for path in paths if path.parent == folder]
    if loose and subfolders:
        raise ValueError(
            f"{loose[0]} lies beside class folders ({', '.join(subfolders)}). Move it into one, or into "
            f"{folder / UNLABELLED_FOLDER} if nobody knows its class."
        )
    return paths
