"""Whether two starts of a run see the same clouds: a few numbers of each split, kept in its checkpoints."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smdsb_jax.datasets.domain import SPLITS, Domain, Split

# of a weighed mean of coordinates: processors round them differently, clouds differ by far more
TOLERANCE = 1e-5


def fingerprint(source: Domain, target: Domain) -> dict[str, Any]:
    """What `differences` compares, for JSON: by domain and split."""
    return {
        f"{role} {name}": _of_split(split)
        for role, domain in (("source", source), ("target", target))
        for name, split in zip(SPLITS, domain.splits, strict=True)
    }


def _of_split(split: Split) -> dict[str, Any]:
    label = np.ascontiguousarray(split.label, np.int32)
    clouds, stored = split.points.shape[:2]
    return {
        "clouds": clouds,
        "points": stored,
        "labels": hashlib.sha256(label.tobytes()).hexdigest()[:16],
        "sums": _sums(split.points),
    }


def _sums(points: Any) -> list[float]:
    """Means of the coordinates, weighed by waves over clouds and points, so that their order counts."""
    clouds, stored = points.shape[:2]
    along = np.cos(1.0 + np.arange(stored)) / stored
    of_cloud = np.einsum("npc,p->nc", points, along.astype(points.dtype), optimize=True).astype(np.float64)
    angle = 2.0 + np.arange(clouds)
    return [float(value) for wave in (np.cos, np.sin) for value in wave(angle) @ of_cloud]


def differences(saved: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What changed since, as one line for each split; none where they are the same."""
    lines = []
    for name, new in found.items():
        old = saved.get(name, new)
        counts = [(old[key], new[key]) for key in ("clouds", "points") if old[key] != new[key]]
        if counts:
            lines.append(f"{name}: {old['clouds']} clouds of {old['points']} points -> "
                         f"{new['clouds']} of {new['points']}")  # fmt: skip
        elif old["labels"] != new["labels"]:
            lines.append(f"{name}: other labels, or the clouds in another order")
        elif not _close(old["sums"], new["sums"]):
            lines.append(f"{name}: other clouds, or another order of them")
    return lines


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
    return bool(np.allclose(a, b, rtol=0, atol=TOLERANCE))
