"""Simulated depth scans of one object in a small scene."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.embedded.deform import Points, deform_with_normals

STEP = np.deg2rad(0.30)  # angle between neighboring pixels at the image center

Vector = Float[np.ndarray, "3"]
Solid = tuple[Vector, Vector]  # lowest and highest corner of an axis-aligned box


class Placed(NamedTuple):
    """An object standing or hanging in the room."""

    points: Points  # meters, floor at z = 0
    normals: Points
    base: float  # height of what it stands on
    turn: Float[np.ndarray, "3 3"]  # the room's axes against the object's


def scan(points: Points, normals: Points, elevation: float, rng: np.random.Generator) -> Points:
    """The cloud that one or two views give of an object, in the object's axes.

    Args:
      points: dense surface samples in meters, standing on z = 0.
      normals: their unit normals.
      elevation: height at which the catalogue hangs the object.
      rng: source of all chance.
    """
    placed = place(points, normals, elevation, rng)
    solids, walled = surroundings(placed, elevation, rng)
    cloud = views(placed, solids, walled, rng)
    return crop(cloud, placed.points, elevation, rng) @ placed.turn


def place(points: Points, normals: Points, elevation: float, rng: np.random.Generator) -> Placed:
    """Deform the object, put it on the floor, on a support or on the wall, and turn it a little."""
    points, normals = deform_with_normals(points, normals, rng)
    low, high = points.min(0), points.max(0)
    extent = (high - low).max()
    points = points - [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    points = points * (np.clip(extent, 0.55, 2.2) / extent)  # trees as potted, trinkets as lamps
    top = points[:, 2].max()
    base = 0.0
    if elevation > 0.9:
        base = float(min(elevation, 2.2 - top))
    elif top < 0.75 and np.ptp(points[:, :2], axis=0).max() < 0.75:
        base = rng.uniform(0.4, 0.75)
    points = points + np.array([0, 0, base])
    yaw = rng.normal(0, 0.25)  # so that boxes cut obliquely
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return Placed(points @ turn.T, normals @ turn.T, base, turn)


def surroundings(placed: Placed, elevation: float, rng: np.random.Generator) -> tuple[list[Solid], bool]:
    """Floor or support, often a wall behind (second result), sometimes a box at one side."""
    low, high = placed.points.min(0), placed.points.max(0)
    size = high - low
    solids: list[Solid] = []
    if placed.base == 0 or elevation > 0.9:
        solids.append((np.array([-9, -9, -1.0]), np.array([9, 9, 0.0])))
    else:
        edge = rng.uniform(0.05, 0.5, 4)
        front = np.array([low[0] - edge[0], low[1] - edge[1], placed.base - 0.05])
        solids.append((front, np.array([high[0] + edge[2], high[1] + edge[3], placed.base])))
    walled = rng.random() < 0.55
    if walled:  # behind the object: its back is +y
        gap = rng.uniform(0.0, 0.12)
        solids.append((np.array([-9, high[1] + gap, -1]), np.array([9, high[1] + gap + 1, 9])))
    if rng.random() < 0.4 and placed.base == 0:
        side = rng.choice([-1, 1])
        width, depth, height = rng.uniform(0.3, 0.8, 3) * [1, 1, 1.4]
        overlap = rng.uniform(-0.05, 0.08) * size[0]
        x = high[0] + overlap if side > 0 else low[0] - overlap - width
        y = rng.uniform(low[1], high[1]) - depth / 2
        solids.append((np.array([x, y, 0]), np.array([x + width, y + depth, height])))
    return solids, walled


def views(placed: Placed, solids: Sequence[Solid], walled: bool, rng: np.random.Generator) -> Points:
    """One or two depth images from eye height, the second with a small error of pose."""
    low, high = placed.points.min(0), placed.points.max(0)
    size, target = high - low, (low + high) / 2
    first = rng.uniform(-0.33, 0.33) * np.pi if walled else rng.uniform(-1, 1) * np.pi
    clouds = []
    for k in range(rng.integers(1, 3)):
        angle = first + k * rng.choice([-1, 1]) * rng.uniform(0.35, 0.8)
        if walled:
            angle = np.clip(angle, -1.25, 1.25)
        far = max(1.0, 0.55 * np.linalg.norm(size) + 0.7) + rng.uniform(0, 1.2)
        x, y = target[0] + far * np.sin(angle), target[1] - far * np.cos(angle)
        eye = np.array([x, y, rng.uniform(1.25, 1.75)])
        cloud, _ = view(eye, target + rng.normal(0, 0.03, 3), placed, solids, rng)
        if k:
            cloud = cloud + rng.normal(0, 0.008, 3)
        clouds.append(cloud)
    return np.concatenate(clouds)


def crop(cloud: Points, points: Points, elevation: float, rng: np.random.Generator) -> Points:
    """What falls in the annotation's box: loose, shifted, in 40 % of cases cut short at one side."""
    low, high = points.min(0), points.max(0)
    size = high - low
    pad = rng.uniform(0.0, 0.05, (2, 3)) * size.max()
    pad[0, 2] = rng.choice([0.03, 0.012, -0.02, -0.025, -0.03]) if elevation <= 0.9 else 0.02
    low, high = low - pad[0], high + pad[1]
    if rng.random() < 0.4:
        axis, cut = rng.integers(0, 2), rng.uniform(0.08, 0.25)
        if rng.random() < 0.5:
            low[axis] += cut * size[axis]
        else:
            high[axis] -= cut * size[axis]
    return cloud[((cloud > low) & (cloud < high)).all(1)]


def view(
    eye: Vector, target: Vector, placed: Placed, solids: Sequence[Solid], rng: np.random.Generator
) -> tuple[Points, Int[np.ndarray, " _"]]:
    """One depth image as points of the room: z-buffer, missing returns, noise growing with range.

    The second result has, for each, the surface sample that was seen; -1 where it was one of the solids.
    """
    frame = _frame(target - eye)
    local = (placed.points - eye) @ frame
    uv = local[:, :2] / local[:, 2:] / STEP
    margin = 12
    corner = np.floor(uv.min(0)).astype(int) - margin
    size = np.ceil(uv.max(0)).astype(int) + margin + 1 - corner
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij"), -1).reshape(-1, 2)
    pixel = (grid + corner + 0.5) * STEP
    rays = np.concatenate([pixel, np.ones((len(pixel), 1))], 1)
    rays = rays @ frame.T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)

    cell = np.floor(uv).astype(int) - corner
    distance, normal = np.full(len(rays), np.inf), np.zeros((len(rays), 3))
    sample = np.full(len(rays), -1)
    depth = np.linalg.norm(placed.points - eye, axis=1)
    order = np.argsort(-depth, kind="stable")  # nearest written last
    cell = (cell[:, 0] * size[1] + cell[:, 1])[order]
    distance[cell], normal[cell], sample[cell] = depth[order], placed.normals[order], order
    for low, high in solids:
        hit_distance, hit_normal = _ray_box(eye, rays, low, high)
        hit = hit_distance < distance
        distance[hit], normal[hit], sample[hit] = hit_distance[hit], hit_normal[hit], -1

    facing = np.abs((normal * rays).sum(1))
    seen = _returns(distance, facing, grid, size, rng)
    sigma = 0.002 + 0.0030 * np.maximum(np.where(seen, distance, 0) - 0.4, 0) ** 2
    wave = rng.normal(0, 1.0) * np.sin(pixel @ rng.uniform(3, 9, 2) + rng.uniform(0, 6.3))
    distance = distance + sigma * (rng.normal(size=len(distance)) + wave)
    return (eye + rays * distance[:, None])[seen], sample[seen]


def _frame(forward: Vector) -> Float[np.ndarray, "3 3"]:
    """Columns right, up, forward of a camera that holds z upright."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward], 1)


def _ray_box(
    eye: Vector, rays: Float[np.ndarray, "r 3"], low: Vector, high: Vector
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r 3"]]:
    """Distance along unit rays to a box, infinite where missed, and the axis of the face hit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        to_low, to_high = (low - eye) / rays, (high - eye) / rays
    near, far = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
    entry = near.max(1)
    entry = np.where((entry > 0) & (entry < far.min(1)), entry, np.inf)
    return entry, np.eye(3)[near.argmax(1)]


def _returns(
    distance: np.ndarray, facing: np.ndarray, grid: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Pixels with a return: not at grazing surfaces, part of the jumps of depth, round blotches."""
    seen = np.isfinite(distance)
    image = np.where(seen, distance, 0).reshape(size)
    seen &= rng.random(len(distance)) < np.clip((facing - 0.08) / 0.22, 0, 1)
    jump = np.zeros(size)
    jump[:-1] = np.maximum(jump[:-1], np.abs(np.diff(image, axis=0)))
    jump[:, :-1] = np.maximum(jump[:, :-1], np.abs(np.diff(image, axis=1)))
    seen &= (jump.ravel() < 0.08) | (rng.random(len(distance)) < 0.4)
    for _ in range(rng.integers(0, 4)):
        center = rng.random(2) * size
        radius = rng.uniform(0.03, 0.10) * size.max()
        seen &= ((grid - center) ** 2).sum(1) > radius**2
    return seen
