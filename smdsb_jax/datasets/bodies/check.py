"""Check the two files and print counts, sizes and sha256.

python -m smdsb_jax.datasets.bodies.check [FOLDER]

FOLDER holds rebuilt files; without it, the shipped ones are checked. The counts are the table of README.md.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smdsb_jax.datasets.bodies import DOMAINS, FOLDER
from smdsb_jax.datasets.bodies.build import COUNTS, POINTS
from smdsb_jax.datasets.bodies.skeleton import PARTS
from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.embedded.check import check_points, file_line


def check_domain(domain: str, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """The bodies of one domain's file.

    Raises:
      ValueError: what is wrong with the clouds, labels or counts, or which body is in two splits.
    """
    check_points(domain, arrays["points"], POINTS)
    label, split, bodies = arrays["label"], arrays["split"], arrays["body"]
    if tuple(arrays["classes"].tolist()) != PARTS:
        raise ValueError(f"{domain}: classes are not {', '.join(PARTS)}.")
    if label.dtype != np.uint8 or label.shape != arrays["points"].shape[:2] or label.max() >= len(PARTS):
        raise ValueError(f"{domain}: labels are not uint8 [n, {POINTS}] below {len(PARTS)}.")
    absent = set(range(len(PARTS))) - set(np.unique(label[split == SPLITS.index("train")]).tolist())
    if absent:
        raise ValueError(f"{domain}: no training point of {', '.join(PARTS[i] for i in sorted(absent))}.")
    in_splits = [set(bodies[split == s].tolist()) for s in range(len(SPLITS))]
    found = {name: (int((split == s).sum()), len(in_splits[s])) for s, name in enumerate(SPLITS)}
    if found != COUNTS[domain]:
        raise ValueError(f"{domain}: clouds and bodies are {found}, build.py says {COUNTS[domain]}.")
    seen: set[str] = set()
    for names in in_splits:
        if seen & names:
            raise ValueError(f"{domain}: {min(seen & names)} is in two splits.")
        seen |= names
    return seen


def count_table(domain: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Clouds (bodies) and the share of points of each part, per split, as rows of a Markdown table."""
    lines = []
    for s, name in enumerate(SPLITS):
        here = arrays["split"] == s
        share = np.bincount(arrays["label"][here].ravel(), minlength=len(PARTS)) / arrays["label"][here].size
        cells = " | ".join(f"{100 * part:.1f}" for part in share)
        lines.append(
            f"| {domain} | {name} | {here.sum()} ({len(np.unique(arrays['body'][here]))}) | {cells} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m smdsb_jax.datasets.bodies.check", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="folder of the .npz files")
    folder = parser.parse_args(arguments).folder
    seen: set[str] = set()
    for domain in DOMAINS:
        path = folder / f"{domain}.npz"
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        bodies = check_domain(domain, arrays)
        if seen & bodies:
            raise ValueError(f"{domain}: {min(seen & bodies)} is in another domain too.")
        seen |= bodies
        print(count_table(domain, arrays))
        print(file_line(path, FOLDER))
    print(f"{len(seen)} bodies, each in one split of one domain")


if __name__ == "__main__":
    main()
