"""PointDA-10 as published: ModelNet and ShapeNet as npy files, ScanNet as h5, ten shared classes.

Layout, class order, alignment and splits are those of the loaders of PointDAN [Qin et al.,
arXiv:1911.02744] and DefRec [Achituve et al., arXiv:2003.12641], whose pre-processing this follows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets.domain import (
    SPLITS,
    Domain,
    Progress,
    Ragged,
    assemble,
    collect,
    normalize,
    read_all,
    train_or_val,
    y_to_z_up,
)
from smdsb_jax.datasets.read import read_h5, read_npy
from smdsb_jax.registry import suggest

CLASSES = (
    "bathtub", "bed", "bookshelf", "cabinet", "chair", "lamp", "monitor", "plant", "sofa", "table",
)  # fmt: skip
DOMAINS = ("modelnet", "shapenet", "scannet")
LAYOUT = "{modelnet,shapenet}/<class>/{train,test}/*.npy and scannet/{train,test}_*.h5"
PLANT = CLASSES.index("plant")


def load(root: str, domain: str, *, points: int, plant_exception: bool = True, cache: str = "") -> Domain:
    """One domain of PointDA-10, every cloud with all its points (see `stack` for mixed sizes).

    Chain: centered on the mean, divided by the largest radius, float32, aligned (`y_to_z_up`); the rule of
    `split_validation` divides the train split. If the domain's cache is there (smdsb prepare
    writes it), it is read instead, with the same result to the bit; the raw files may then be gone.

    Args:
      root: folder PointDA_data of the published archive.
      domain: modelnet, shapenet or scannet.
      points: that the network will see; shorter clouds are brought to this count.
      plant_exception: leave ShapeNet's plants as they are, as all published results do. It reads the
        label, so on a ShapeNet target it leaks one; False aligns them like the rest.
      cache: folder of the caches; empty: `root`/cache.

    Raises:
      ValueError: a missing folder, a bad file, an empty class, or a cache that is not of these files.
    """
    if domain not in DOMAINS:
        raise ValueError(f"PointDA-10 has no domain {domain!r}.{suggest(domain, DOMAINS)}")
    cached = caches.path_of(root, domain, cache).exists()
    ragged = caches.load(root, domain, cache, listing(root, domain)).ragged if cached else read(root, domain)
    if domain == "shapenet" and not plant_exception:
        rows = np.repeat(ragged.label == PLANT, ragged.count)
        ragged.points[rows] = y_to_z_up(ragged.points[rows])
    return assemble(domain, CLASSES, ragged, points)


def read(root: str, domain: str, progress: Progress = iter) -> Ragged:
    """The raw files of a domain, normalized and aligned (ShapeNet's plants are not).

    Args:
      root: folder PointDA_data.
      domain: modelnet, shapenet or scannet.
      progress: wraps the list of files.

    Raises:
      ValueError: a missing folder or a bad file; the message counts further bad ones.
    """
    files = sources(root, domain)
    folder = Path(root, domain)
    found = read_all(files, lambda path: _read_file(path, domain, root), folder, progress)
    clouds = [cloud for several, _ in found for cloud in several]
    label = [each for _, several in found for each in several]
    train = sum(len(found[i][1]) for i, path in enumerate(files) if split_of(path) == "train")
    split = train_or_val(train) + [SPLITS.index("test")] * (len(clouds) - train)
    return collect(clouds, label, split, folder)


def sources(root: str, domain: str) -> list[Path]:
    """The files of a domain, train before test, each in the published order: sorted by path.

    Raises:
      ValueError: the folder is missing or holds none, or other files than those of PointDA-10.
    """
    files = listing(root, domain)
    if not files:
        folder = Path(root, domain)
        unset = "" if root else "config.data.root is empty: give the folder PointDA_data. "
        raise ValueError(
            f"{unset}{folder} {'holds no objects' if folder.is_dir() else 'is missing'}. Expected "
            f"{Path(root, LAYOUT)}, the published PointDA-10. Without it, train on the data that comes "
            "with the library: --config configs/embedded.py:s2c"
        )
    strange = _unlisted(Path(root, domain), files) if domain == "scannet" else _strays(Path(root, domain))
    if strange:
        more = f" There are {len(strange) - 1} more." if len(strange) > 1 else ""
        raise ValueError(f"{strange[0]} {remedy_for(root)}{more}")
    return files


def _unlisted(folder: Path, files: Sequence[Path]) -> list[str]:
    """How the h5 files differ from `train_files.txt` and `test_files.txt`, where these are."""
    problems = []
    for split in ("train", "test"):
        path = folder / f"{split}_files.txt"
        if not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").replace("\\", "/").splitlines()
        listed = {line.strip().rsplit("/", 1)[-1] for line in lines if line.strip()}
        found = {file.name for file in files if split_of(file) == split}
        problems += [
            f"{folder / name} is missing; {path.name} names it: restore it, or remove the line."
            for name in sorted(listed - found)
        ]
        problems += [f"{folder / name}: {path.name} does not name it." for name in sorted(found - listed)]
    return problems


def _strays(folder: Path) -> list[str]:
    """What is in the folders of an npy domain and belongs to no class or split; hidden files may."""

    def visible(pattern: str) -> list[Path]:
        return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))

    classes = [path for path in visible("*") if path.is_dir()]
    problems = [f"{path} is no class of PointDA-10." for path in classes if path.name not in CLASSES]
    for path in classes:
        if path.name in CLASSES:
            inner = [p for p in visible(f"{path.name}/*") if p.name not in ("train", "test")]
            for split in ("train", "test"):
                inner += [p for p in visible(f"{path.name}/{split}/*") if p.suffix != ".npy"]
            problems += [f"{p} is no file of PointDA-10." for p in inner]
    return problems


def listing(root: str, domain: str) -> list[Path]:
    """The files of a domain as `sources`, or none."""
    pattern = "{split}_*.h5" if domain == "scannet" else "*/{split}/*.npy"
    return [
        path
        for split in ("train", "test")
        for path in sorted(Path(root, domain).glob(pattern.format(split=split)), key=str)
        if not path.name.startswith(".") and (domain == "scannet" or path.parts[-3] in CLASSES)
    ]


def class_of(path: Path) -> int:
    """Label of an npy file by its folder."""
    return CLASSES.index(path.parts[-3])


def split_of(path: Path) -> str:
    """`train` or `test`, by the name of an h5 file or the folder of an npy file."""
    return path.name.split("_")[0] if path.suffix == ".h5" else path.parts[-2]


def remedy_for(root: str) -> str:
    """What to do about a bad file."""
    return f"Re-extract the archive; smdsb prepare --data {root} --verify checks all of it."


def write_cache(root: str, domain: str, cache: str = "", progress: Progress = iter) -> Ragged:
    """Read a domain's raw files and write its cache; returns what was written."""
    before = caches.manifest(Path(root), sources(root, domain))
    ragged = read(root, domain, progress)
    caches.write(caches.path_of(root, domain, cache), ragged, before)
    return ragged


def _read_file(path: Path, domain: str, root: str) -> tuple[Float[np.ndarray, "n p 3"], list[int]]:
    """Clouds of one file, normalized and aligned, and their labels."""
    if domain == "scannet":
        points, label = read_h5(path, len(CLASSES), remedy_for(root))
        return y_to_z_up(normalize(points)), label.tolist()
    label = class_of(path)
    points = normalize(read_npy(path, remedy_for(root))[None])
    is_upright = domain == "modelnet" or label == PLANT
    return points if is_upright else y_to_z_up(points), [label]
