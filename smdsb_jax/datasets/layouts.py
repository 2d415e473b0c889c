"""Where the clouds of a domain's folder lie, and what their places say of them: usual layouts by their looks.

- this library's: `{train,val,test}/CLASS/*`, and `train/*` without labels
- that of ModelNet40's archive: `CLASS/{train,test}/*.off`
- h5 files with labels, as of ScanObjectNN and of ModelNet40: `training_objectdataset.h5`, `ply_data_test0.h5`
- that of ShapeNetPart: `synsetoffset2category.txt`, `02691156/*.txt`, `train_test_split/*_file_list.json`
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.read import find_clouds
from smdsb_jax.registry import CONTROL, printable

LAYOUT = "{train,test}/<class>/* (and val/<class>/*, if you divide the train split yourself)"
UNLABELLED_FOLDER = "unlabelled"  # among the class folders: clouds whose class nobody knows
CLASS_NAMES = "classes.txt"  # of the labels 0, 1, … in h5 files, a line each
SYNSETS = "synsetoffset2category.txt"  # ShapeNetPart's: class and folder
H5 = (".h5", ".hdf5")
SPLIT_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)")  # training_…, ply_data_test0


class Source(NamedTuple):
    """A file of clouds, and what its place says of them."""

    path: Path
    split: str  # train, val or test
    label: str | None  # its class; None: an h5 file's own labels, if it has some, else nobody knows


class Listing(NamedTuple):
    """The files of a domain."""

    sources: list[Source]  # train, then val, then test; each by class and name
    classes: tuple[str, ...]  # in the order of their labels
    skipped: Counter[str]  # files that are no clouds, by suffix
    notes: tuple[Path, ...] = ()  # files that say what the clouds are
    has_val: bool = False  # so that train need not be divided


def find(folder: Path) -> Listing | None:
    """The files of a domain by the first layout that the folder looks like, or None.

    Raises:
      ValueError: a class that the train split lacks, clouds beside class folders, a file of names or of
        splits that cannot be understood, a name that is no text of one line.
    """
    _plain(str(folder))
    if not folder.is_dir():
        return None
    for looks_like, listing in LAYOUTS.values():
        if looks_like(folder):
            found = listing(folder)
            _plain(*found.classes, *(str(source.path) for source in found.sources))
            return found
    return None


def _plain(*names: str) -> None:
    """Refuse names that would break tables and records."""
    for name in names:
        if CONTROL.search(name):
            raise ValueError(f"{printable(name)}: a name with control characters, or no UTF-8. Rename it.")


def _by_split(folder: Path) -> Listing:
    """`{train,val,test}/CLASS/*`; classes are those of train, or of the others where train has none."""
    names = {split: set(_subfolders(folder / split)) - {UNLABELLED_FOLDER} for split in SPLITS}
    classes = tuple(sorted(names["train"] or names["val"] | names["test"]))
    sources: list[Source] = []
    skipped: Counter[str] = Counter()
    for split in SPLITS:
        place = folder / split
        unknown = [name for name in _subfolders(place) if name not in (*classes, UNLABELLED_FOLDER)]
        if unknown:
            raise ValueError(
                f"{place / unknown[0]} is a class that the train split lacks (it has {', '.join(classes)}). "
                "Rename or remove the folder."
            )
        loose, others = find_clouds(place) if place.is_dir() else ([], Counter())
        skipped += others
        if loose and _subfolders(place):
            raise ValueError(
                f"{loose[0]} lies beside class folders ({', '.join(_subfolders(place))}). Move it into one, "
                f"or into {place / UNLABELLED_FOLDER} if nobody knows its class."
            )
        sources += [Source(path, split, None) for path in loose]
        for name in _subfolders(place):
            found, others = find_clouds(place / name)
            skipped += others
            label = None if name == UNLABELLED_FOLDER else name
            sources += [Source(path, split, label) for path in found]
    has_val = (folder / "val").is_dir()
    if classes:
        return Listing(sources, classes, skipped, has_val=has_val)
    return _named(folder, sources, skipped, has_val)


def _by_class(folder: Path) -> Listing:
    """`CLASS/{train,val,test}/*`, as ModelNet40 comes."""
    classes = tuple(name for name in _subfolders(folder) if _has_split(folder / name))
    sources: list[Source] = []
    skipped: Counter[str] = Counter()
    for split in SPLITS:
        for name in classes:
            place = folder / name / split
            found, others = find_clouds(place) if place.is_dir() else ([], Counter())
            skipped += others
            sources += [Source(path, split, name) for path in found]
    has_val = any(source.split == "val" for source in sources)
    return Listing(sources, classes, skipped, has_val=has_val)


def _h5_files(folder: Path) -> Listing:
    """Files of many clouds and their labels, the split in their names."""
    found, skipped = find_clouds(folder)
    splits = {path: _split_in_name(path) for path in found if path.name != CLASS_NAMES}
    skipped += Counter(path.suffix for path, split in splits.items() if not split)
    sources = [Source(path, name, None) for name in SPLITS for path, own in splits.items() if own == name]
    return _named(folder, sources, skipped, "val" in splits.values())


def _synsets(folder: Path) -> Listing:
    """ShapeNetPart's text files; those of the lists in `train_test_split`, or all for training."""
    try:
        lines = [line.split() for line in (folder / SYNSETS).read_text(encoding="utf-8").splitlines()]
        folder_of = {words[0]: words[1] for words in lines if words}
    except (UnicodeDecodeError, IndexError):
        raise ValueError(f"{folder / SYNSETS}: give a class and its folder in each line.") from None
    classes = tuple(sorted(folder_of))
    lists = sorted(p for p in (folder / "train_test_split").glob("*_file_list.json") if p.is_file())
    split_of = {name: _split_in_name(path) for path in lists for name in _listed(path)}
    sources: list[Source] = []
    skipped: Counter[str] = Counter()
    for name in classes:
        place = folder / folder_of[name]
        found, others = find_clouds(place) if place.is_dir() else ([], Counter())
        skipped += others
        for path in found:
            split = split_of.get((path.parent.name, path.stem), "" if lists else "train")
            if split:
                sources.append(Source(path, split, name))
            else:
                skipped["in no list of train_test_split"] += 1
    sources.sort(key=lambda source: SPLITS.index(source.split))
    has_val = any(source.split == "val" for source in sources)
    return Listing(sources, classes, skipped, (folder / SYNSETS, *lists), has_val)


# how a folder of the layout is told, and what it holds; the first that fits
LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Listing]]] = {
    "by split": (lambda folder: (folder / "train").is_dir(), _by_split),
    "by class": (lambda folder: any(_has_split(folder / name) for name in _subfolders(folder)), _by_class),
    "h5 files": (lambda folder: any(_split_in_name(path) for path in _h5(folder)), _h5_files),
    "synsets": (lambda folder: (folder / SYNSETS).is_file(), _synsets),
}


def _named(folder: Path, sources: list[Source], skipped: Counter[str], has_val: bool) -> Listing:
    """A listing whose classes, if there are some, are the lines of `classes.txt`."""
    names = folder / CLASS_NAMES
    if not names.is_file():
        return Listing(sources, (), skipped, has_val=has_val)
    try:
        lines = names.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{names}: is no text in UTF-8. Write the classes again, a line each.") from None
    classes = tuple(line.strip() for line in lines if line.strip())
    repeated = [name for name, times in Counter(classes).items() if times > 1]
    if repeated:
        raise ValueError(f"{names}: {repeated[0]} has two lines. Give each label its class.")
    return Listing(sources, classes, skipped, (names,), has_val)


def _listed(path: Path) -> list[tuple[str, str]]:
    """Folder and stem of each file that a list of ShapeNetPart names."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        return [(Path(name).parent.name, Path(name).stem) for name in names]
    except (ValueError, TypeError):
        raise ValueError(f"{path}: not a list of file names as ShapeNetPart has it.") from None


def _split_in_name(path: Path) -> str:
    found = SPLIT_IN_NAME.search(path.stem.lower())
    return found[1] if found else ""


def _has_split(folder: Path) -> bool:
    return (folder / "train").is_dir() or (folder / "test").is_dir()


def _h5(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in H5]


def _subfolders(folder: Path) -> list[str]:
    visible = (p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else ()
    names = sorted(p.name for p in visible if p.is_dir())
    _plain(*names)
    return names
