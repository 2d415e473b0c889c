"""What a scanner would see of a clean cloud: hidden points gone, a side cut off, holes, noise, some floor.

For trials of clean against scanned clouds where no scans are at hand (launch/simulate_scans.py).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError

Cloud = Float[np.ndarray, "n 3"]
Place = Float[np.ndarray, " 3"]


class Scanner(NamedTuple):
    """How scans are drawn. Lengths are in radii of the cloud, which is centered and in the unit sphere."""

    distance: tuple[float, float] = (2.0, 3.0)  # of a camera from the center
    elevation: tuple[float, float] = (10.0, 50.0)  # of the cameras above the horizon, degrees
    second_view: float = 0.4  # probability of a second camera, elsewhere around the object
    apart: tuple[float, float] = (0.4, 1.2)  # its angle from the first, radians
    misalignment: float = 0.01  # standard deviation of the shift of each view, where there are two
    noise: float = 0.006  # standard deviation per coordinate and unit of distance from the camera
    cut: float = 0.4  # probability that the box around the object cuts a side off
    cut_share: tuple[float, float] = (0.08, 0.25)  # of the points
    holes: int = 2  # at most, each as likely as none: surfaces that return nothing
    hole_radius: tuple[float, float] = (0.08, 0.2)
    floor: float = 0.35  # probability that some of the floor is in the box
    floor_share: tuple[float, float] = (0.05, 0.2)  # of the points
    fewest: int = 128  # points that holes leave


DEFAULT = Scanner()


def simulate_scan(
    points: Cloud, rng: np.random.Generator, scanner: Scanner = DEFAULT
) -> Float[np.ndarray, "scanned 3"]:
    """A scan of a cloud, z up, in the cloud's own coordinates; fewer points than it has.

    Args:
      points: of the whole surface, at least 4, centered and in the unit sphere; the more, the finer is what
        hides and what is hidden.
      rng: of all draws.
      scanner: how.
    """
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(*scanner.elevation))
    azimuths = [azimuth]
    if rng.random() < scanner.second_view:
        azimuths.append(azimuth + rng.uniform(*scanner.apart))
    views = []
    for angle in azimuths:
        flat, height = np.cos(elevation), np.sin(elevation)
        eye = rng.uniform(*scanner.distance) * np.array([flat * np.cos(angle), flat * np.sin(angle), height])
        seen = points[visible(points, eye)]
        away = np.linalg.norm(seen - eye, axis=1, keepdims=True)
        shift = rng.normal(0, scanner.misalignment, 3) if len(azimuths) > 1 else 0.0
        views.append(seen + scanner.noise * away * rng.normal(size=seen.shape) + shift)
    cloud = np.concatenate(views)
    if rng.random() < scanner.cut:
        along = cloud @ (rng.normal(size=3) * [1, 1, 0.3])  # seldom from above
        cloud = cloud[along > np.quantile(along, rng.uniform(*scanner.cut_share))]
    for _ in range(rng.integers(scanner.holes + 1)):
        from_center = np.linalg.norm(cloud - cloud[rng.integers(len(cloud))], axis=1)
        left = cloud[from_center > rng.uniform(*scanner.hole_radius)]
        cloud = left if len(left) >= scanner.fewest else cloud
    if rng.random() < scanner.floor:
        count = round(len(cloud) * rng.uniform(*scanner.floor_share))
        cloud = np.concatenate([cloud, _floor(points, rng, count)])
    return cloud


def visible(points: Cloud, eye: Place) -> Int[np.ndarray, " seen"]:
    """Rows of the points that are seen from `eye`, ascending: those on the hull of their spherical flip.

    The radius of the sphere is 10^1.6 times the largest distance from the eye. All are seen where they have
    no hull: fewer than four, or in one plane with the eye.   [Katz et al., SIGGRAPH 2007, Eq. 1]
    """
    towards = points - eye
    distance = np.linalg.norm(towards, axis=1, keepdims=True)
    flipped = towards + 2 * (distance.max() * 10**1.6 - distance) * towards / distance
    try:
        hull = ConvexHull(np.concatenate([flipped, np.zeros((1, 3))]))
    except (QhullError, ValueError):
        return np.arange(len(points))
    return np.sort(hull.vertices[hull.vertices < len(points)])


def _floor(points: Cloud, rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 3"]:
    """Points on a plane at the height of the lowest one, within the object's extent."""
    extent = np.abs(points[:, :2]).max()
    flat = rng.uniform(-extent, extent, (count, 2))
    return np.column_stack([flat, points[:, 2].min() + rng.normal(0, 0.01, count)])
