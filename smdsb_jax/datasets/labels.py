"""Labels of a domain's clouds in a file of their own, in place of those that the data have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smdsb_jax.datasets.domain import SPLITS, Domain
from smdsb_jax.datasets.readers.base import check_file
from smdsb_jax.files import whole_file
from smdsb_jax.registry import printable


def write_labels(path: Path, labels: Mapping[str, np.ndarray]) -> None:
    """`train`, `val` and `test`, in stored order: integers, indices into the classes."""
    with whole_file(path) as part, part.open("wb") as file:
        arrays: dict[str, Any] = {split: np.asarray(labels[split], np.int32) for split in SPLITS}
        np.savez_compressed(file, **arrays)


def with_labels(domain: Domain, path: str) -> Domain:
    """The domain with the labels of such a file.

    Raises:
      ValueError: it cannot be read, or is of other clouds or classes.
    """
    where = f"config.data.source_labels = {path!r}"
    try:
        check_file(Path(path).expanduser())
        with np.load(Path(path).expanduser(), allow_pickle=False) as saved:
            labels = {split: saved[split] for split in SPLITS}
    except Exception as error:  # a damaged archive makes zipfile and numpy raise almost anything
        said = printable(str(error)) or type(error).__name__
        raise ValueError(f"{where} cannot be read ({said}). Give an npz of {', '.join(SPLITS)}.") from error
    for split in SPLITS:
        found, wanted = labels[split], getattr(domain, split).label
        if found.shape != wanted.shape or found.dtype.kind not in "iu":
            raise ValueError(
                f"{where}: {split} is {found.dtype} {found.shape}, and {domain.name} has labels of shape "
                f"{wanted.shape}. Give integers for these clouds."
            )
        if found.size and not 0 <= found.min() <= found.max() < len(domain.classes):
            raise ValueError(f"{where}: {split} has labels outside 0 to {len(domain.classes) - 1}.")
    return domain._replace(
        **{s: getattr(domain, s)._replace(label=labels[s].astype(np.int32)) for s in SPLITS}
    )
