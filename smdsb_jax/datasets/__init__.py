"""Folders on disk become domains in memory: `load(root, domain, *, points, …) -> Domain`.

An entry's keyword arguments that have a default are its options, the further fields of `config.data`.
A domain comes whole, normalized and checked; drawing points and batches from it is `sampling`'s part.
"""

from collections.abc import Callable

from smdsb_jax.datasets import bodies, embedded, folder, pointda, pointsegda
from smdsb_jax.datasets.domain import Domain, Split

DATASETS: dict[str, Callable[..., Domain]] = {
    "embedded": embedded.load,  # comes with the library: runs without a download
    "bodies": bodies.load,  # comes with the library too: parts of human bodies, labels per point
    "pointda": pointda.load,  # PointDA-10, the benchmark of the paper's tables
    "pointsegda": pointsegda.load,  # PointSegDA, bodies whose points are labelled with their parts
    "folder": folder.load,  # your own: root/domain/split/class/*
}

__all__ = ["DATASETS", "Domain", "Split"]
