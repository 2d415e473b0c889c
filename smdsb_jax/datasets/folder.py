"""A data set of your own: `root/domain/split/class/*`, `split/*` without labels, or another usual layout."""

import functools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets.domain import (
    SPLITS,
    UNLABELLED,
    Domain,
    Progress,
    Ragged,
    assemble,
    collect,
    normalize,
    read_all,
    y_to_z_up,
)  # fmt: skip
from smdsb_jax.datasets.layouts import CLASS_NAMES, H5, LAYOUT, Listing, Source, find
from smdsb_jax.datasets.read import MESH_POINTS, read_clouds, read_h5_labels
from smdsb_jax.registry import suggest

INSTEAD = " Without it, train on the data that comes with the library: --config configs/embedded.py:s2c"
SLOW = 10.0  # seconds of reading after which a cache is recommended


class Read(NamedTuple):
    """What the files of a domain hold."""

    ragged: Ragged  # normalized, in the files' axes
    classes: tuple[str, ...]
    skipped: Mapping[str, int]  # files that were passed over, by suffix


def load(root: str, domain: str, *, points: int, y_up: str = "", cache: str = "") -> Domain:
    """One domain from a folder of clouds or meshes (`read.READERS`); columns 0 to 2 are x, y, z.

    Each cloud is centered and scaled to the unit sphere. Classes are the sorted folder names of the train
    split. Without a val folder, a fifth of each class's training clouds validates (`validates`). If the
    domain's cache is there (smdsb prepare writes it), it is read instead.
    [The file format of PointDA-10: PointDAN, arXiv:1911.02744]

    A target needs no labels: `train/*`, or `train/unlabelled/*` beside class folders. Where train has no
    class folders, the classes are those of val and test, if they have some. A target may also lack some of
    the source's classes, and a test folder. Other layouts: `layouts`.

    Args:
      root: folder of the domains.
      domain: name of one of them.
      points: that the network will see; shorter clouds repeat theirs (see `stack`). Meshes are sampled by
        area with at least as many, or 2,048.
      y_up: the domains in whose files y is up, joined by +, as `cad+scan`; they are turned to z up.
      cache: folder of the caches; empty: `root`/cache.

    Raises:
      ValueError: a missing folder, a bad file, a class that train lacks, an empty class, clouds beside
        class folders, a cache that is not of these files.
    """
    if not root:
        raise ValueError(
            f"config.data.root is empty: give the folder that holds {Path(domain, LAYOUT)}.{INSTEAD}"
        )
    turned = _turned(root, y_up)
    if caches.path_of(root, domain, cache).exists():
        listing = find(Path(root, domain))
        ragged, _, classes = caches.load(root, domain, cache, files_of(listing) if listing else ())
        skipped = listing.skipped if listing else {}
    else:
        started = time.perf_counter()
        bar = functools.partial(tqdm, desc=domain, unit="file", disable=not sys.stderr.isatty(), delay=2)
        ragged, classes, skipped = read(root, domain, max(points, MESH_POINTS), bar)
        seconds = time.perf_counter() - started
        if seconds > SLOW:
            hint = f"smdsb prepare --data {root} writes a cache that is read at once"
            print(f"{domain}: {seconds:.0f} s to read {len(ragged.count)} clouds; {hint}.", file=sys.stderr)
    if domain in turned:
        ragged = ragged._replace(points=y_to_z_up(ragged.points))
    return assemble(domain, classes, ragged, points, skipped)


def read(
    root: str, domain: str, mesh_points: int = MESH_POINTS, progress: Progress = iter, *, seed: int = 0
) -> Read:
    """The clouds of a domain's files and its classes.

    Args:
      root: folder of the domains.
      domain: name of one of them.
      mesh_points: drawn from each mesh.
      progress: wraps the list of files.
      seed: of the draw.

    Raises:
      ValueError: as `load`; the message counts further bad files.
    """
    return _read(Path(root, domain), _listing(root, domain), mesh_points, progress, seed)


def _read(folder: Path, listing: Listing, mesh_points: int, progress: Progress, seed: int) -> Read:
    source_of = {source.path: source for source in listing.sources}

    def read_one(path: Path) -> tuple[list[Float[np.ndarray, "_ 3"]], list[int]]:
        clouds = read_clouds(path, mesh_points=mesh_points, seed=seed)
        return clouds, _labels(source_of[path], len(clouds), listing.classes, folder)

    found = read_all([source.path for source in listing.sources], read_one, folder, progress)
    clouds: list[Float[np.ndarray, "_ 3"]] = []
    label: list[int] = []
    split: list[int] = []
    name: list[str] = []
    for source, (several, labels) in zip(listing.sources, found, strict=True):
        clouds += several
        label += labels
        file = str(source.path.relative_to(folder))
        name += [file] if len(several) == 1 else [f"{file}[{k}]" for k in range(len(several))]
        split += [SPLITS.index(source.split)] * len(several)
    if not listing.has_val:
        train = split.count(SPLITS.index("train"))  # they come first
        split[:train] = train_or_val_by_class(label[:train])
    extent = [np.ptp(cloud, axis=0) for cloud in clouds]
    ragged = collect([normalize(cloud) for cloud in clouds], label, split, folder, extent, name)
    return Read(ragged, listing.classes, listing.skipped)


def write_cache(
    root: str,
    domain: str,
    cache: str = "",
    progress: Progress = iter,
    *,
    mesh_points: int = MESH_POINTS,
    seed: int = 0,
) -> Read:
    """What `read` gives, written as the domain's cache, which training reads instead of the files."""
    listing = _listing(root, domain)
    before = caches.manifest(Path(root), files_of(listing))
    found = _read(Path(root, domain), listing, mesh_points, progress, seed)
    caches.write(caches.path_of(root, domain, cache), found.ragged, before, found.classes)
    return found


def files_of(listing: Listing) -> list[Path]:
    """What a domain is read from."""
    return [*(source.path for source in listing.sources), *listing.notes]


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


def _listing(root: str, domain: str) -> Listing:
    """The files of a domain that has some."""
    folder = Path(root, domain)
    listing = find(folder)
    if listing is None:
        known = [p.name for p in Path(root).iterdir() if p.is_dir()] if Path(root).is_dir() else []
        near = suggest(domain, known) if known and domain not in known else INSTEAD
        raise ValueError(f"{folder} has no train folder. Expected {folder / LAYOUT}.{near}")
    if not listing.sources:
        others = ", ".join(f"{count} {suffix}" for suffix, count in listing.skipped.most_common())
        passed = f" ({others} passed over)" if others else ""
        raise ValueError(f"{folder} holds no clouds{passed}. Expected {folder / LAYOUT}.{INSTEAD}")
    return listing


def _labels(source: Source, clouds: int, classes: tuple[str, ...], folder: Path) -> list[int]:
    """Of the clouds of one file: by its place, or its own."""
    if source.label is not None:
        return [classes.index(source.label)] * clouds
    if source.path.suffix.lower() not in H5 or not _holds_labels(source.path):
        return [UNLABELLED] * clouds
    names = folder / CLASS_NAMES
    if not names.is_file():
        raise ValueError(
            f"{source.path} has labels as numbers: name their classes in {names}, a line each, in order."
        )
    remedy = f"{names} has {len(classes)} lines; give one for each label."
    label = read_h5_labels(source.path, len(classes), remedy).tolist()
    if len(label) != clouds:
        raise ValueError(f"{source.path}: {clouds} clouds, {len(label)} labels. Write the file again.")
    return label


def _holds_labels(path: Path) -> bool:
    with h5py.File(path, "r") as file:  # its clouds were read: it can be opened
        return "label" in file


def _turned(root: str, y_up: str) -> list[str]:
    """The domains of `y_up`."""
    names = [name.strip() for name in y_up.split("+") if name.strip()]
    known = [p.name for p in Path(root).iterdir() if p.is_dir()] if Path(root).is_dir() else []
    for name in names:
        if known and name not in known:
            raise ValueError(f"config.data.y_up: {root} has no domain {name!r}.{suggest(name, known)}")
    return names
