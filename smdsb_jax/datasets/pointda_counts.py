"""Is a PointDA-10 folder complete? Its objects per class against the published counts."""

import csv
from collections import Counter
from pathlib import Path

from smdsb_jax.datasets import pointda
from smdsb_jax.datasets.counts import Count
from smdsb_jax.datasets.pointda import CLASSES
from smdsb_jax.datasets.read import read_h5_labels

PUBLISHED = Path(__file__).with_name("pointda10_counts.csv")  # from the logs of GAST [arXiv:2108.09169]


def published_counts() -> dict[tuple[str, str, str], int]:
    """Objects per (domain, split, class); splits train, test, and train_part, val_part of train."""
    lines = [line for line in PUBLISHED.read_text().splitlines() if not line.startswith("#")]
    return {(row["domain"], row["split"], c): int(row[c]) for row in csv.DictReader(lines) for c in CLASSES}


def verify(root: str, domain: str) -> list[Count]:
    """Objects of a domain per split and class; a folder that is no class of PointDA-10 expects 0.

    Counts npy files and reads the labels of h5 files, not the clouds. A missing folder counts 0.

    Raises:
      ValueError: the labels of an h5 file cannot be read; one line with the file's name.
    """
    keys = [(split, c) for split in ("train", "test") for c in CLASSES]
    published = published_counts()
    expected = {(split, c): published[domain, split, c] for split, c in keys}
    found = _found_h5(root) if domain == "scannet" else _found_npy(root, domain)
    unknown = sorted(found.keys() - expected.keys())
    return [
        Count(f"{domain} {split}", name, expected.get((split, name), 0), found[split, name])
        for split, name in keys + unknown
    ]


def _found_npy(root: str, domain: str) -> Counter[tuple[str, str]]:
    files = (path for split in ("train", "test") for path in Path(root, domain).glob(f"*/{split}/*.npy"))
    return Counter((path.parts[-2], path.parts[-3]) for path in files if not path.name.startswith("."))


def _found_h5(root: str) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for path in pointda.listing(root, "scannet"):
        labels = read_h5_labels(path, len(CLASSES), pointda.remedy_for(root))
        found.update((pointda.split_of(path), CLASSES[c]) for c in labels)
    return found
