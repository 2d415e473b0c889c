"""Is a PointSegDA folder complete? Its shapes per split against the published counts."""

from collections import Counter

from smdsb_jax.datasets.counts import Count
from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.pointsegda import folder_of

# Shapes of train, val, test, as the loader of PTSFA prints them in its logs [https://github.com/xiaoyao3302/PTSFA].
PUBLISHED = {
    "adobe": (29, 4, 8),
    "faust": (70, 10, 20),
    "mit": (118, 17, 34),
    "scape": (50, 7, 14),
}
POINTS = 2048  # of each shape of a train split, by the sums of the same logs


def verify(root: str, domain: str) -> list[Count]:
    """Shapes of a domain per split; a folder that is no split expects 0, and a missing one counts 0."""
    expected: dict[str, int] = dict(zip(SPLITS, PUBLISHED[domain], strict=True))
    files = (path for path in (folder_of(root) / domain).glob("*/*.npy") if not path.name.startswith("."))
    found = Counter(path.parent.name for path in files)
    unknown = sorted(found.keys() - expected.keys())
    return [Count(domain, split, expected.get(split, 0), found[split]) for split in (*SPLITS, *unknown)]
