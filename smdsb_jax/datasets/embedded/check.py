"""Check the three files against objects.csv and print counts, sizes and sha256.

python -m smdsb_jax.datasets.embedded.check [FOLDER]

FOLDER holds rebuilt files; without it, the shipped ones are checked. The counts are the table of README.md.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.embedded import DOMAINS, FOLDER
from smdsb_jax.datasets.embedded.build import POINTS, Row, object_name, object_rows


def check_domain(domain: str, arrays: Mapping[str, np.ndarray], rows: Mapping[str, Row]) -> set[str]:
    """The objects of one domain's file.

    Raises:
      ValueError: what is wrong with the clouds, or which object is not where objects.csv puts it.
    """
    check_points(domain, arrays["points"], POINTS)
    for label, split, name in zip(arrays["label"], arrays["split"], arrays["object"], strict=True):
        found = (str(arrays["classes"][label]), domain, SPLITS[split])
        row = rows.get(str(name), {})
        wanted = (row.get("class"), row.get("domain"), row.get("split"))
        if found != wanted:
            raise ValueError(f"{domain}: {name} is in {found}, objects.csv says {wanted}.")
    return set(arrays["object"].tolist())


def check_points(domain: str, points: np.ndarray, count: int) -> None:
    """Check the array of a domain's clouds of `count` points.

    Raises:
      ValueError: another type or shape, or a cloud that is not in the unit sphere.
    """
    if points.dtype != np.float16 or points.shape[1:] != (count, 3):
        raise ValueError(f"{domain}: points are not float16 [n, {count}, 3].")
    exact = points.astype(np.float32)
    radius = np.linalg.norm(exact, axis=2).max(1)
    # negated, so that NaN fails too
    if not (np.abs(radius - 1).max() < 0.01 and np.abs(exact.mean(1)).max() < 0.01):
        raise ValueError(f"{domain}: a cloud is not centered in the unit sphere.")


def count_table(domain: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Clouds (objects) per split and class, as rows of a Markdown table."""
    lines = []
    for s, split_name in enumerate(SPLITS):
        cells, objects_of_split = [], 0
        for c in range(len(arrays["classes"])):
            here = (arrays["split"] == s) & (arrays["label"] == c)
            objects = len(np.unique(arrays["object"][here]))
            objects_of_split += objects
            cells.append(f"{here.sum()} ({objects})")
        total = f"{(arrays['split'] == s).sum()} ({objects_of_split})"
        lines.append(f"| {domain} | {split_name} | {' | '.join(cells)} | {total} |")
    return "\n".join(lines)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_line(path: Path, shipped: Path) -> str:
    """Size and digest of a file, and whether the one of its name in the folder `shipped` is the same."""
    same = "the shipped bytes" if sha256(path) == sha256(shipped / path.name) else "NOT the shipped bytes"
    return f"{path.name}: {path.stat().st_size} bytes, sha256 {sha256(path)}, {same}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m smdsb_jax.datasets.embedded.check", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="folder of the .npz files")
    folder = parser.parse_args(arguments).folder
    rows = {object_name(row): row for row in object_rows()}
    seen: set[str] = set()
    for domain in DOMAINS:
        path = folder / f"{domain}.npz"
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        seen |= check_domain(domain, arrays, rows)
        print(count_table(domain, arrays))
        print(file_line(path, FOLDER))
    if seen != set(rows):
        raise ValueError(f"objects.csv has objects without clouds: {', '.join(sorted(set(rows) - seen))}.")
    print(f"{len(seen)} objects, each in one split of one domain")


if __name__ == "__main__":
    main()
