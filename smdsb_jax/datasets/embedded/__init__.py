"""The data set that comes with the library: furniture point clouds in three domains (see README.md).

Small and real, for trying things out and for comparing settings of one's own; not a benchmark.
"""

from pathlib import Path

import numpy as np

from smdsb_jax.datasets.domain import Domain, Ragged, assemble, normalize
from smdsb_jax.registry import suggest

DOMAINS = ("catalog", "blend", "scan")
FOLDER = Path(__file__).parent


def load(root: str, domain: str, *, points: int) -> Domain:
    """One domain of the shipped data: 430 train, 65 val and 174 test clouds of 1,024 points.

    The stored coordinates are rounded to 1/256 of the radius; they are centered and scaled again here.
    [Models: the furniture libraries of Sweet Home 3D, https://www.sweethome3d.com; credits in ATTRIBUTION.md]

    Args:
      root: not used; the files are in this package.
      domain: catalog (CAD), blend (CAD of other authors) or scan (simulated depth camera).
      points: that the network will see; above 1,024, points are repeated.

    Raises:
      ValueError: no domain of this name.
    """
    del root
    if domain not in DOMAINS:
        raise ValueError(f"The embedded data set has no domain {domain!r}.{suggest(domain, DOMAINS)}")
    return load_file(FOLDER / f"{domain}.npz", points)


def load_file(path: Path, points: int) -> Domain:
    """The domain of a file as `build.save` writes it; its labels are of clouds, or of points."""
    with np.load(path, allow_pickle=False) as file:
        clouds, label, split, classes = (file[key] for key in ("points", "label", "split", "classes"))
    clouds = normalize(clouds.astype(np.float32))
    count = np.full(len(clouds), clouds.shape[1], np.int32)
    ragged = Ragged(clouds.reshape(-1, 3), count, label.ravel().astype(np.int32), split)
    return assemble(path.stem, tuple(classes.tolist()), ragged, points)
