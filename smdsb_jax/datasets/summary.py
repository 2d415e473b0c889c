"""What the domains of a run hold, in words, so that a wrong folder is seen before any work."""

import hashlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from smdsb_jax.datasets.domain import SPLITS, UNLABELLED, Domain, Split, absent_classes
from smdsb_jax.markdown import markdown_table

AXES = ("x", "y", "z")
CLEAR = 1.2  # the factor by which an axis must exceed the others to be called the up axis
BROAD = 0.3  # the share of the box below which a base is no base
LOOKED_AT = (200, 512)  # clouds, and points of each, by which the up axis is guessed
FEWEST = 10  # clouds without which nothing is guessed
LISTED = 50  # classes above which there is no row for each


def describe(domains: Mapping[str, Domain]) -> str:
    """A table of clouds per class and split, a line for each domain, and a line for each warning.

    Args:
      domains: by what they are called, as `{"cad (source)": …, "scan (target)": …}`.
    """
    lines = [class_table(domains)]
    lines += [f"{name}: {shape_of(domain)}." for name, domain in domains.items()]
    lines += [f"Warning: {name}: {line}" for name, domain in domains.items() for line in warnings_of(domain)]
    return "\n".join(lines)


def class_table(domains: Mapping[str, Domain]) -> str:
    """Markdown table: clouds of each class (rows) in each split of each domain (columns).

    Where points have the labels, the share of a split's points that each class has, above the clouds.
    """
    classes = list(dict.fromkeys(name for domain in domains.values() for name in domain.classes))
    pairs = [(domain, split) for domain in domains.values() for split in domain.splits]
    columns = [cells_of(*pair) for pair in pairs]
    rows = classes if len(classes) <= LISTED else []
    if any("unlabelled" in column for column in columns):
        rows = [*rows, "unlabelled"]
    table = [[name, *(column.get(name, "0") for column in columns)] for name in rows]
    total = [f"{len(split.label):,}" for _, split in pairs]
    head = [f"{name} {SPLITS[0]}" if i == 0 else SPLITS[i] for name in domains for i in range(len(SPLITS))]
    of_points = any(split.label.ndim > 1 for _, split in pairs)
    what, last = ("points", "clouds") if of_points else ("clouds", f"all of {len(classes)} classes")
    return markdown_table([what, *head], [*table, [last, *total]])


def cells_of(domain: Domain, split: Split) -> dict[str, str]:
    """How many clouds of a split have each class, or which share of its points; none of those without."""
    names = [*domain.classes, "unlabelled"]  # UNLABELLED, -1, is the last one
    label, count = np.unique(split.label, return_counts=True)
    of_points = split.label.ndim > 1
    words = [f"{n / split.label.size:.1%}" if of_points else f"{n:,}" for n in count]
    return {names[k]: text for k, text in zip(label, words, strict=True)}


def shape_of(domain: Domain) -> str:
    """Points, extent, up axis and skipped files of a domain: `1,024 points a cloud; extent …; z seems …`."""
    stored, origin = domain.train.points, domain.origin
    count = np.full(1, stored.shape[1]) if origin is None else origin.count
    points = f"{count.min():,}"
    if count.min() != count.max():
        points += f" to {count.max():,} (median {np.median(count):,.0f})"
    if origin is not None and origin.extent is not None:
        extent, unit = origin.extent, "in the files' unit"
    else:
        extent, unit = np.ptp(stored, axis=1), "in radii"
    box = " x ".join(f"{side:.3g}" for side in np.median(extent, axis=0))
    up = up_axis(stored)
    words = [f"{points} points a cloud", f"extent {box} {unit} (median)"]
    words.append(f"{up} seems to be up" if up else "which axis is up cannot be told")
    if origin is not None and origin.skipped:
        files = ", ".join(f"{n} {suffix}" for suffix, n in sorted(origin.skipped.items()))
        count = sum(origin.skipped.values())
        words.append(f"{count} file{'s' if count > 1 else ''} passed over: {files}")
    return "; ".join(words)


def warnings_of(domain: Domain) -> list[str]:
    """What a user would want to know before training."""
    found = []
    of_points = domain.train.label.ndim > 1
    what = "points" if of_points else "clouds"
    absent = absent_classes(domain) if of_points else []  # of clouds: refused, or a target that lacks them
    if absent:
        found.append(f"no training points of {', '.join(absent)}: they cannot be learned from it.")
    trained, validated = (set(np.unique(split.label)) - {UNLABELLED} for split in (domain.train, domain.val))
    missing = [domain.classes[k] for k in sorted(trained - validated)] if validated else []
    if missing:
        found.append(f"no validation {what} of {', '.join(missing)}: its scores say nothing of them.")
    up = up_axis(domain.train.points)
    if up not in ("", "z"):
        turn = " Configurations of folder data turn them: y_up=NAME." if up == "y" else ""
        found.append(f"{up} seems to be up, but clouds are taken with z up.{turn}")
    return found + repeated(domain)


def repeated(domain: Domain) -> list[str]:
    """A line for each pair of splits that have clouds in common, which makes a test too easy."""
    names = list(domain.origin.name) if domain.origin is not None else []
    place: dict[bytes, tuple[int, str]] = {}  # of the first such cloud: number of its split, name
    common: dict[tuple[int, int], list[str]] = {}
    number = 0
    for code, split in enumerate(domain.splits):
        for row, cloud in enumerate(split.points):
            name = names[number] if names else f"cloud {row} of {SPLITS[code]}"
            number += 1
            digest = hashlib.blake2b(np.ascontiguousarray(cloud).tobytes(), digest_size=16).digest()
            first, its_name = place.setdefault(digest, (code, name))
            if first != code:
                common.setdefault((first, code), []).append(f"{its_name} = {name}")
    return [
        f"{len(pairs)} cloud{'s' if len(pairs) > 1 else ''} of {SPLITS[second]} in {SPLITS[first]} too "
        f"(first: {pairs[0]})."
        for (first, second), pairs in sorted(common.items())
    ]


def up_axis(points: Float[np.ndarray, "n stored 3"]) -> str:
    """The axis along which objects seem to stand, or nothing where none stands out: a guess.

    An object stands on a broad base: of its outermost twentieth along an axis, the box is broad across the
    axis. And top and bottom differ, more than left and right, or front and back, do: the histogram along the
    axis is no mirror image of itself. The guess is the axis with the largest product of both means.
    """
    every, every_point = (-(-size // most) or 1 for size, most in zip(points.shape, LOOKED_AT, strict=False))
    clouds = points[::every, ::every_point]
    clouds = clouds[(np.ptp(clouds, axis=1) > 0).all(axis=1)]
    if len(clouds) < FEWEST:
        return ""
    low, high = clouds.min(axis=1, keepdims=True), clouds.max(axis=1, keepdims=True)
    at = (clouds - low) / (high - low)  # 0 … 1 within the box
    base = np.array([_base(at, axis) for axis in range(3)])
    strength = base * [_asymmetry(at[..., axis]) for axis in range(3)]
    up = int(strength.argmax())
    stands_out = strength[up] > CLEAR * np.delete(strength, up).max() and base[up] > BROAD
    return AXES[up] if stands_out else ""


def _base(at: Float[np.ndarray, "n p 3"], axis: int) -> float:
    """Mean share that the box of the outermost twentieth has of the whole box's area across the axis."""
    across = np.delete(at, axis, axis=-1)
    areas = []
    for outer in (at[..., axis] < 0.05, at[..., axis] > 0.95):
        inside = np.where(outer[..., None], across, np.nan)
        sides = np.nanmax(inside, axis=1) - np.nanmin(inside, axis=1)  # the outermost point is always there
        areas.append(sides.prod(axis=-1))
    return float(np.max(areas, axis=0).mean())


def _asymmetry(at: Float[np.ndarray, "n p"]) -> float:
    """Mean distance of the histogram from its mirror image, 0 … 2."""
    bins = np.minimum((10 * at).astype(int), 9)
    share = np.stack([(bins == k).mean(axis=1) for k in range(10)], axis=-1)
    return float(np.abs(share - share[:, ::-1]).sum(axis=-1).mean())
