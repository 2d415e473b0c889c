"""The skeleton of a body: segments that turn about their joints and carry the skin with them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

PARTS = (
    "head",
    "hand",
    "forearm",
    "upper_arm",
    "torso",
    "thigh",
    "shin",
    "foot",
)  # the classes, in label order
SIDES = ("left", "right")


class Segment(NamedTuple):
    """A rigid piece."""

    parent: str | None
    part: str  # which its skin belongs to
    bone: str  # of MakeHuman's rig `mixamo`: its head is the joint


def _segments() -> dict[str, Segment]:
    segments = {
        "pelvis": Segment(None, "torso", "Hips"),
        "spine": Segment("pelvis", "torso", "Spine"),
        "chest": Segment("spine", "torso", "Spine1"),
        "neck": Segment("chest", "torso", "Neck"),
        "head": Segment("neck", "head", "Head"),
    }
    for side in SIDES:
        bone = side.capitalize()
        segments |= {
            f"collar_{side}": Segment("chest", "torso", f"{bone}Shoulder"),
            f"upper_arm_{side}": Segment(f"collar_{side}", "upper_arm", f"{bone}Arm"),
            f"forearm_{side}": Segment(f"upper_arm_{side}", "forearm", f"{bone}ForeArm"),
            f"hand_{side}": Segment(f"forearm_{side}", "hand", f"{bone}Hand"),
            f"thigh_{side}": Segment("pelvis", "thigh", f"{bone}UpLeg"),
            f"shin_{side}": Segment(f"thigh_{side}", "shin", f"{bone}Leg"),
            f"foot_{side}": Segment(f"shin_{side}", "foot", f"{bone}Foot"),
        }
    return segments


SEGMENTS = _segments()  # parents before their children
INDEX = {name: i for i, name in enumerate(SEGMENTS)}
COUNT = len(SEGMENTS)

Turns = Float[np.ndarray, "segments 3 3"]  # of each segment against its parent, in axes of the resting body


class Body(NamedTuple):
    """A person at rest: meters, x to the person's left, y to the back, z up."""

    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    weights: Float[np.ndarray, "v segments"]  # by which a vertex follows each segment; rows sum to 1
    joints: Float[np.ndarray, "segments 3"]  # about which each segment turns

    def joint(self, segment: str) -> Float[np.ndarray, "3"]:
        """The joint of a segment by its name."""
        return self.joints[INDEX[segment]]


def part_of_triangles(body: Body) -> Int[np.ndarray, " t"]:
    """Label of each triangle: the part that its three corners follow most."""
    of_part = np.zeros((len(body.vertices), len(PARTS)))
    for i, segment in enumerate(SEGMENTS.values()):
        of_part[:, PARTS.index(segment.part)] += body.weights[:, i]
    return of_part[body.triangles].sum(1).argmax(1)


def motions(body: Body, turns: Turns) -> Float[np.ndarray, "segments 3 4"]:
    """Where the turns bring each segment: rotation and translation, [R | t], from rest to pose."""
    moved = np.zeros((COUNT, 3, 4))
    for i, segment in enumerate(SEGMENTS.values()):
        parent = np.eye(3, 4) if segment.parent is None else moved[INDEX[segment.parent]]
        joint = body.joints[i]
        moved[i, :, :3] = parent[:, :3] @ turns[i]
        moved[i, :, 3] = parent[:, :3] @ (joint - turns[i] @ joint) + parent[:, 3]
    return moved


def moved_by(motion: Float[np.ndarray, "3 4"], point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """A point after one of the `motions`."""
    return motion[:, :3] @ point + motion[:, 3]


def skin(body: Body, turns: Turns) -> Float[np.ndarray, "v 3"]:
    """The vertices in this pose: linear blend skinning."""
    blended = np.einsum("vs,sij->vij", body.weights, motions(body, turns))
    return np.einsum("vij,vj->vi", blended[:, :, :3], body.vertices) + blended[:, :, 3]
