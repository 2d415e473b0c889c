"""Random poses: limbs aimed at directions, in the axes of the resting body (x left, y back, z up)."""

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from smdsb_jax.datasets.bodies.skeleton import COUNT, INDEX, SIDES, Body, Turns, motions, moved_by

X, Y, Z = np.eye(3)
FRONT, BACK, DOWN = -Y, Y, -Z
TRIES = 40  # draws of a pose until one has no parts in each other
HEIGHT = 1.7  # meters, of the body that the capsules below are for

Vector = Float[np.ndarray, "3"]
Matrix = Float[np.ndarray, "3 3"]
Range = tuple[float, float]  # degrees, lowest and highest
Capsule = tuple[Vector, Vector, float]  # both ends of its axis and its radius, in meters


class Habits(NamedTuple):
    """How far the people of a domain move, in degrees."""

    bend: Range  # of the back, to the front
    lean: float  # of the back, to either side
    twist: float  # of the back, about itself
    head: float  # nodding, down or up; it looks to a side by half as much again
    raised: Range  # the upper arm, from hanging
    swing: Range  # its direction: 0 sideways, 90 front
    collar: float  # how far it goes up with a raised arm
    elbow: Range
    thigh: Range  # to the front
    spread: Range  # of the thighs, to the side
    knee: Range
    ankle: float


STANDING = {"thigh": (-8.0, 14.0), "spread": (0.0, 14.0), "knee": (0.0, 14.0)}  # a leg that carries


def turn(axis: Vector, degrees: float) -> Matrix:
    """Rotation about an axis of any length."""
    return Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True).as_matrix()


def aim(start: Vector, end: Vector) -> Matrix:
    """The shortest rotation from one direction to another."""
    return Rotation.align_vectors(end[None], start[None])[0].as_matrix()


def free_pose(body: Body, habits: Habits, rng: np.random.Generator) -> Turns:
    """A random pose without parts that go deep into each other; the last of `TRIES` if none is found."""
    turns = random_pose(body, habits, rng)
    for _ in range(TRIES - 1):
        if not collides(body, turns):
            break
        turns = random_pose(body, habits, rng)
    return turns


def random_pose(body: Body, habits: Habits, rng: np.random.Generator) -> Turns:
    """One draw."""
    turns = np.tile(np.eye(3), (COUNT, 1, 1))
    for segment in ("spine", "chest"):  # each takes half
        turns[INDEX[segment]] = (
            turn(X, rng.uniform(*habits.bend) / 2)
            @ turn(Y, _either(habits.lean, rng) / 2)
            @ turn(Z, _either(habits.twist, rng) / 2)
        )
    for segment, share in (("neck", 0.4), ("head", 0.6)):
        nod, lean, look = (share * factor * _either(habits.head, rng) for factor in (1, 0.6, 1.5))
        turns[INDEX[segment]] = turn(X, nod) @ turn(Y, lean) @ turn(Z, look)
    both_stand = rng.random() < 0.4
    for side, out in zip(SIDES, (X, -X), strict=True):
        _pose_arm(turns, body, side, out, habits, rng)
        stands = both_stand or rng.random() < 0.25
        _pose_leg(turns, body, side, out, habits._replace(**STANDING) if stands else habits, rng)
    return turns


def _either(degrees: float, rng: np.random.Generator) -> float:
    return rng.uniform(-degrees, degrees)


def _pose_arm(
    turns: Turns, body: Body, side: str, out: Vector, habits: Habits, rng: np.random.Generator
) -> None:
    raised, swing = rng.uniform(*habits.raised), np.deg2rad(rng.uniform(*habits.swing))
    sideways = out * np.cos(swing) + FRONT * np.sin(swing)
    goal = DOWN * np.cos(np.deg2rad(raised)) + sideways * np.sin(np.deg2rad(raised))
    collar = turn(np.cross(DOWN, out), max(0.0, raised - 80) / 85 * habits.collar)
    turns[INDEX[f"collar_{side}"]] = collar
    shoulder, elbow, wrist = (body.joint(f"{name}_{side}") for name in ("upper_arm", "forearm", "hand"))
    upper, fore = elbow - shoulder, wrist - elbow
    # the goal is a direction of the chest, which the collar bone has turned away from
    turns[INDEX[f"upper_arm_{side}"]] = (
        collar.T @ aim(collar @ upper, goal) @ collar @ turn(upper, _either(35.0, rng))
    )
    bend = turn(np.cross(upper, FRONT), rng.uniform(*habits.elbow))
    turns[INDEX[f"forearm_{side}"]] = bend @ aim(fore, upper)  # straight, then bent
    turns[INDEX[f"hand_{side}"]] = turn(X, _either(12.0, rng)) @ turn(Z, _either(12.0, rng))


def _pose_leg(
    turns: Turns, body: Body, side: str, out: Vector, habits: Habits, rng: np.random.Generator
) -> None:
    lifted, spread = np.deg2rad(rng.uniform(*habits.thigh)), np.deg2rad(rng.uniform(*habits.spread))
    goal = (DOWN * np.cos(lifted) + FRONT * np.sin(lifted)) * np.cos(spread) + out * np.sin(spread)
    hip, knee, ankle = (body.joint(f"{name}_{side}") for name in ("thigh", "shin", "foot"))
    thigh, shin = knee - hip, ankle - knee
    turns[INDEX[f"thigh_{side}"]] = aim(thigh, goal)
    turns[INDEX[f"shin_{side}"]] = turn(np.cross(thigh, BACK), rng.uniform(*habits.knee)) @ aim(shin, thigh)
    turns[INDEX[f"foot_{side}"]] = aim(thigh, shin) @ turn(X, _either(habits.ankle, rng))


def collides(body: Body, turns: Turns) -> bool:
    """Whether capsules around forearms, shins, thighs, torso and head meet, those that are no neighbors."""
    of = capsules(body, turns)
    limbs = [f"{name}_{side}" for name in ("thigh", "shin") for side in SIDES]
    pairs = [(f"forearm_{side}", other) for side in SIDES for other in ("torso", "head", *limbs)]
    pairs += [("forearm_left", "forearm_right"), ("shin_left", "shin_right")]
    pairs += [("thigh_left", "shin_right"), ("thigh_right", "shin_left")]
    pairs += list(product(("shin_left", "shin_right"), ("torso",)))
    return any(distance(of[a], of[b]) < 0 for a, b in pairs)


def capsules(body: Body, turns: Turns) -> dict[str, Capsule]:
    """Capsules around the posed torso, head and limbs, in the proportions of an average person."""
    motion = dict(zip(INDEX, motions(body, turns), strict=True))
    scale = np.ptp(body.vertices[:, 2]) / HEIGHT

    def place(segment: str, point: Vector) -> Vector:
        return moved_by(motion[segment], point)

    def joint(segment: str) -> Vector:
        return place(segment, body.joint(segment))

    crown = place("head", body.joint("head") + scale * np.array([0, -0.03, 0.16]))
    found = {
        "torso": (joint("pelvis"), joint("neck"), 0.13 * scale),
        "head": (joint("head"), crown, 0.10 * scale),
    }
    for side in SIDES:
        elbow, wrist = body.joint(f"forearm_{side}"), body.joint(f"hand_{side}")
        fingers = wrist + 0.15 * scale * (wrist - elbow) / np.linalg.norm(wrist - elbow)
        hip, knee, ankle = (joint(f"{name}_{side}") for name in ("thigh", "shin", "foot"))
        found |= {
            f"forearm_{side}": (joint(f"forearm_{side}"), place(f"hand_{side}", fingers), 0.045 * scale),
            f"thigh_{side}": (0.8 * hip + 0.2 * knee, knee, 0.08 * scale),
            f"shin_{side}": (knee, ankle, 0.06 * scale),
        }
    return found


def distance(a: Capsule, b: Capsule) -> float:
    """Meters between two capsules, negative where they meet; measured at nine points of each axis."""
    steps = np.linspace(0, 1, 9)[:, None]
    on_a, on_b = (start + steps * (end - start) for start, end, _ in (a, b))
    return float(np.linalg.norm(on_a[:, None] - on_b, axis=2).min()) - a[2] - b[2]
