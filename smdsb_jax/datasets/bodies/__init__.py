"""The data set for segmentation that comes with the library: human bodies in eight parts (see README.md).

Small, for trying things out and for comparing settings of one's own; not a benchmark.
"""

from pathlib import Path

from smdsb_jax.datasets.domain import Domain
from smdsb_jax.datasets.embedded import load_file
from smdsb_jax.registry import suggest

DOMAINS = ("makehuman", "scan")
FOLDER = Path(__file__).parent


def load(root: str, domain: str, *, points: int) -> Domain:
    """One domain of the shipped data: clouds of 2,048 points, each point labelled with its part of the body.

    `makehuman` has 70 train, 10 val and 20 test clouds, `scan` 50, 7 and 14. The stored coordinates are
    rounded to 1/256 of the radius; they are centered and scaled again here.
    [Bodies: MakeHuman, http://www.makehumancommunity.org; credits in ATTRIBUTION.md]

    Args:
      root: not used; the files are in this package.
      domain: makehuman (the whole surface) or scan (simulated depth camera).
      points: that the network will see; above 2,048, points are repeated.

    Raises:
      ValueError: no domain of this name.
    """
    del root
    if domain not in DOMAINS:
        raise ValueError(f"The data set of bodies has no domain {domain!r}.{suggest(domain, DOMAINS)}")
    return load_file(FOLDER / f"{domain}.npz", points)
