"""Random deformation of an object: every cloud of the data set is a variant of its own."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "_ 3"]  # any number, not the same in every argument


def deformation(points: Points, rng: np.random.Generator) -> Callable[[Points], Points]:
    """A random map: scaling by 0.8 to 1.2 per axis, light taper, shear and low-frequency bending.

    It works in units of the object's box and keeps z up.
    """
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, box_half(points)
    scale = rng.uniform(0.8, 1.2, 3)
    taper, shear = rng.uniform(-0.10, 0.10), rng.uniform(-0.05, 0.05, 2)
    amplitude, frequency = rng.normal(0, 0.012, (3, 3)), rng.uniform(1.0, 3.0, (3, 3))
    phase = rng.uniform(0, 2 * np.pi, (3, 3))

    def deform(p: Points) -> Points:
        q = (p - middle) / half
        waves = [
            sum(amplitude[i, j] * np.sin(frequency[i, j] * q[..., j] + phase[i, j]) for j in range(3))
            for i in range(3)
        ]
        q = q + np.stack(waves, -1)
        z = q[..., 2:3]
        xy = q[..., :2] * (1 + taper * z) + shear * z
        return np.concatenate([xy, z], -1) * scale * half + middle

    return deform


def box_half(points: Points) -> float:
    """Half the longest side of the bounding box."""
    return max(float((points.max(0) - points.min(0)).max()) / 2, 1e-9)


def deform_with_normals(points: Points, normals: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """Deform points, and carry their unit normals along by finite differences in the tangent plane."""
    deform = deformation(points, rng)
    a = np.cross(normals, np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0, 1]], [[1.0, 0, 0]]))
    b = np.cross(normals, a)
    small = 1e-3 * box_half(points)
    base = deform(points)
    turned = np.cross(deform(points + small * a) - base, deform(points + small * b) - base)
    return base, turned / np.maximum(np.linalg.norm(turned, axis=1), 1e-12)[:, None]
