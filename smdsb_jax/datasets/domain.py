"""What a data set is to the library: one domain's three splits as arrays, checked and normalized."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from smdsb_jax.registry import printable
from smdsb_jax.run.memory import host_bytes

SPLITS = ("train", "val", "test")  # their codes are 0, 1, 2
UNLABELLED = -1  # the label of what nobody has labelled
Progress = Callable[[Iterable[Path]], Iterable[Path]]  # for example tqdm.tqdm
Found = TypeVar("Found")


class Split(NamedTuple):
    """Clouds and labels of one split; centered and in the unit sphere, unless its loader says otherwise."""

    points: Float[np.ndarray, "n stored 3"]  # float32, z up
    label: Int[np.ndarray, "n *points"]  # int32, index into the domain's classes, or UNLABELLED


class Origin(NamedTuple):
    """What a summary says of the clouds before they were made the same: train first, then val, then test."""

    count: Int[np.ndarray, " n"]  # points of each
    extent: Float[np.ndarray, "n 3"] | None  # size of its box in the files' unit and axes; None: not known
    name: Sequence[str] = ()  # of the file of each, or none
    skipped: Mapping[str, int] = Counter()  # files that were passed over, by suffix


class Domain(NamedTuple):
    """One domain in memory. `val` decides on checkpoints; `test` only reports."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    origin: Origin | None = None

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """In the order of `SPLITS`."""
        return self.train, self.val, self.test


class Ragged(NamedTuple):
    """Normalized clouds of any size, one after another, train first, then val, then test."""

    points: Float[np.ndarray, "total 3"]
    count: Int[np.ndarray, " n"]  # points of each cloud; they sum to `total`
    label: Int[np.ndarray, " labels"]  # of each cloud [n], or of each point [total]; or UNLABELLED
    split: Int[np.ndarray, " n"]  # code of its split, ascending
    extent: Float[np.ndarray, "n 3"] | None = None  # as `Origin` has it
    name: np.ndarray | None = None  # [n] text, as `Origin` has it


def normalize(points: Float[np.ndarray, "*clouds p 3"]) -> Float[np.ndarray, "*clouds p 3"]:
    """Center each cloud on the mean of all its points and divide by the largest distance to it.

    The sums run in float64; the result is float32. Coincident points stay at the origin.
    """
    exact = points.astype(np.float64)
    magnitude = np.abs(exact).max(axis=(-2, -1), keepdims=True)
    exact -= exact.mean(axis=-2, keepdims=True)
    radius = np.sqrt((exact**2).sum(axis=-1, keepdims=True).max(axis=-2, keepdims=True))
    spread = radius > 1e-12 * magnitude  # below, the radius is the rounding of the mean
    return np.where(spread, exact / np.where(spread, radius, 1.0), 0.0).astype(np.float32)


def normalize_once(cloud: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """As `normalize`; one that is normalized already keeps its bits, which a second time would round anew.

    (A tie between distances that is broken otherwise lets farthest point sampling take other points.)
    """
    normalized = normalize(cloud)
    return cloud.astype(np.float32) if np.abs(normalized - cloud).max() < 1e-6 else normalized


def y_to_z_up(points: Float[np.ndarray, "*clouds 3"]) -> Float[np.ndarray, "*clouds 3"]:
    """From y up to z up: (x, y, z) -> (x, -z, y), a turn by 90 degrees about x."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def to_count(points: Shaped[np.ndarray, "p *of_each"], count: int) -> Shaped[np.ndarray, "count *of_each"]:
    """Exactly `count` points, or labels of points, without a random number.

    A longer cloud gives evenly spaced rows; a shorter one all its rows in their order, then again from
    the first (resampling with replacement in which no point occurs more than once more than another).
    """
    p = len(points)
    rows = np.arange(count) * p // count if p >= count else np.arange(count) % p
    return points[rows]


def without_repeats(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "q 3"]:
    """What `to_count` filled up to these points: repeats at the end would shift the mean.

    Of points that are not filled up, the points themselves.
    """
    starts = np.flatnonzero((points[1:] == points[:1]).all(axis=1)) + 1
    for start in starts[:16]:  # the first point may occur in a cloud more than once
        if np.array_equal(points[start:], points[:-start]):
            return points[:start]
    return points


def stack(ragged: Ragged, points: int) -> Float[np.ndarray, "n stored 3"]:
    """All clouds as one array, each by `to_count`.

    The common count is that of the largest cloud, or `points` (what the network will see) if that is
    more: no point is lost, and the training step draws its own subset of all of them at each visit.
    Shorter clouds repeat theirs. The array takes 12 bytes * clouds * the common count, so one cloud of a
    million points costs a domain of 1,000 clouds 12 GB: thin out such a file beforehand.
    """
    return _stacked(ragged.points, ragged.count, points)


def stack_labels(ragged: Ragged, points: int) -> Int[np.ndarray, "n *points"]:
    """The label of each cloud or, where labels are of points, those of the points that `stack` gives."""
    of_clouds = len(ragged.label) == len(ragged.count)
    return ragged.label if of_clouds else _stacked(ragged.label, ragged.count, points)


def _stacked(
    of_points: Shaped[np.ndarray, "total *of_each"], count: Int[np.ndarray, " n"], points: int
) -> Shaped[np.ndarray, "n stored *of_each"]:
    stored = max(points, int(count.max()))
    size, free = (
        len(count) * stored * of_points.itemsize * (of_points.size // max(len(of_points), 1)),
        host_bytes(),
    )
    if size > free:
        raise ValueError(
            f"{len(count):,} clouds of {stored:,} points each take {size / 2**30:.0f} GiB, and "
            f"{free / 2**30:.0f} GiB of memory are free. Lower config.data.points, or thin out large clouds."
        )
    if (count == stored).all():
        return of_points.reshape(-1, stored, *of_points.shape[1:])
    return np.stack([to_count(cloud, stored) for cloud in np.split(of_points, np.cumsum(count)[:-1])])


def split_validation(n: int) -> Bool[np.ndarray, " n"]:
    """Which of `n` training objects, in listing order, validate: index mod 10 >= 8 (DefRec, GAST)."""
    return np.arange(n) % 10 >= 8


def train_or_val(n: int) -> list[int]:
    """Split codes of `n` training objects by the rule of `split_validation`."""
    return np.where(split_validation(n), SPLITS.index("val"), SPLITS.index("train")).tolist()


def read_all(
    files: Sequence[Path], read: Callable[[Path], Found], where: object, progress: Progress = iter
) -> list[Found]:
    """What `read` gives for each file.

    Raises:
      ValueError: that of the first bad file; it also counts the further ones in `where`.
    """
    found, bad = [], []
    for path in progress(files):
        try:
            found.append(read(path))
        except ValueError as error:
            bad.append(printable(str(error)))
    if bad:
        more = f" ({len(bad) - 1} more bad files in {where}.)" if len(bad) > 1 else ""
        raise ValueError(bad[0] + more)
    return found


def collect(
    clouds: Sequence[Float[np.ndarray, "_ 3"]],
    label: Sequence[int] | Sequence[Int[np.ndarray, " _"]],
    split: Sequence[int],
    where: object,
    extent: Sequence[Float[np.ndarray, "3"]] | None = None,
    name: Sequence[str] | None = None,
) -> Ragged:
    """Put clouds of all splits, in listing order, into one `Ragged`.

    `label` has one of each cloud, or an array of those of its points. `extent` and `name` are what `Origin`
    has of each, where that is known.

    Raises:
      ValueError: there is no cloud at all in `where`.
    """
    if not clouds:
        raise ValueError(f"{where} holds no clouds. Check that the path is the right one.")
    order = np.argsort(split, kind="stable")
    return Ragged(
        np.concatenate([clouds[i] for i in order]).astype(np.float32, copy=False),
        np.array([len(clouds[i]) for i in order], np.int32),
        np.hstack([label[i] for i in order]).astype(np.int32),
        np.asarray(split, np.uint8)[order],
        None if extent is None else np.stack(extent).astype(np.float32)[order],
        None if name is None else np.array(name, np.str_)[order],
    )


def assemble(
    name: str, classes: tuple[str, ...], ragged: Ragged, points: int, skipped: Mapping[str, int] = Counter()
) -> Domain:
    """The domain of these clouds, each with the same number of points (see `stack`).

    `skipped` are the files that were passed over, by suffix. A split may be empty; what a run needs of its
    domains, `build.load_domains` says.

    Raises:
      ValueError: a label beyond the classes; a class without training objects, though others have some, by
        name. (Of parts of objects `absent_classes` is for the summary.)
    """
    if ragged.label.max() >= len(classes):
        raise ValueError(
            f"Domain {name!r}: label {ragged.label.max()} is none of its {len(classes)} classes. If it has a "
            "cache, write that again with smdsb prepare."
        )
    edges = np.searchsorted(ragged.split, range(len(SPLITS) + 1))
    stacked, label = stack(ragged, points), stack_labels(ragged, points)
    train, val, test = (Split(stacked[a:b], label[a:b]) for a, b in itertools.pairwise(edges))
    names = () if ragged.name is None else ragged.name.tolist()
    origin = Origin(ragged.count, ragged.extent, names, skipped)
    domain = Domain(name, classes, train, val, test, origin)
    empty = absent_classes(domain)
    if empty and label.ndim == 1:
        raise ValueError(
            f"Domain {name!r}: no training objects of class {', '.join(empty)}. Add some, or remove the "
            "class from every domain."
        )
    return domain


def absent_classes(domain: Domain) -> list[str]:
    """The classes that no training cloud, or point, has; none where nothing is labelled."""
    present = np.bincount(labelled(domain.train).label.ravel(), minlength=len(domain.classes))
    return [name for name, count in zip(domain.classes, present, strict=True) if not count and present.any()]


def labelled(split: Split) -> Split:
    """The clouds of a split that have labels."""
    known = (split.label != UNLABELLED).all(axis=tuple(range(1, split.label.ndim)))
    return split if known.all() else Split(split.points[known], split.label[known])


def with_classes(domain: Domain, classes: tuple[str, ...], extra: str = "refuse") -> Domain:
    """A domain whose labels are indices into the classes of another one. It may lack some of them.

    Args:
      domain: as it was loaded.
      classes: of the source.
      extra: what its own classes beyond these are: `refuse`, or `unlabelled`, to be trained on as such.

    Raises:
      ValueError: it has classes beyond these, and `extra` is `refuse`.
    """
    if domain.classes == classes:
        return domain
    beyond = [name for name in domain.classes if name not in classes]
    if beyond and extra == "refuse":
        raise ValueError(
            f"Domain {domain.name!r} has classes that the source lacks: {', '.join(beyond)} (it has "
            f"{', '.join(classes)}). Rename or remove their folders, or train on them as unlabelled: "
            "--config.data.extra_classes=unlabelled"
        )
    codes = [classes.index(name) if name in classes else UNLABELLED for name in domain.classes]
    code_of = np.array([*codes, UNLABELLED], np.int32)  # the last one is also that of UNLABELLED, -1
    splits = {name: getattr(domain, name) for name in SPLITS}
    relabelled = {name: split._replace(label=code_of[split.label]) for name, split in splits.items()}
    return domain._replace(classes=classes, **relabelled)
