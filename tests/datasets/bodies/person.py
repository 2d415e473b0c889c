"""A person of boxes in the files of MakeHuman: one box per segment, a rig, weights and all macro targets."""

import gzip
import json
from itertools import product

import numpy as np

# Joints in decimeters, y up, z to the front, and the other end of each box; the right side mirrors the left.
MIDDLE = {
    "Hips": ((0, 9, 0), (0, 10, 0)),
    "Spine": ((0, 10, 0), (0, 12, 0)),
    "Spine1": ((0, 12, 0), (0, 14.5, 0)),
    "Neck": ((0, 14.5, 0), (0, 15.2, 0)),
    "Head": ((0, 15.2, 0), (0, 17, 0)),
}
LEFT = {
    "Shoulder": ((0.3, 14, 0), (2, 14, 0)),
    "Arm": ((2, 14, 0), (4.5, 12.5, 0)),
    "ForeArm": ((4.5, 12.5, 0), (6.5, 11, 0)),
    "Hand": ((6.5, 11, 0), (7.5, 10, 0)),
    "UpLeg": ((1, 8.7, 0), (1.1, 4.7, 0)),
    "Leg": ((1.1, 4.7, 0), (1.1, 0.8, 0)),
    "Foot": ((1.1, 0.8, 0), (1.1, 0.3, 1.5)),
}
PARENTS = {"Spine": "Hips", "Spine1": "Spine", "Neck": "Spine1", "Head": "Neck"} | {
    side + bone: parent if parent in MIDDLE else side + parent
    for side in ("Left", "Right")
    for bone, parent in (
        ("Shoulder", "Spine1"),
        ("Arm", "Shoulder"),
        ("ForeArm", "Arm"),
        ("Hand", "ForeArm"),
        ("HandIndex1", "Hand"),
        ("UpLeg", "Hips"),
        ("Leg", "UpLeg"),
        ("Foot", "Leg"),
    )
}
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TALLER = "height/male-young-averagemuscle-averageweight-maxheight"  # the one target that moves anything
BONES = MIDDLE | LEFT


def bones():
    """(bone, joint, end) of all segments."""
    yield from ((bone, *ends) for bone, ends in MIDDLE.items())
    for sign, side in ((1, "Left"), (-1, "Right")):
        mirror = np.array([sign, 1, 1])
        yield from ((side + bone, *(mirror * end for end in ends)) for bone, ends in LEFT.items())


def box(start, end, pad):
    """The eight corners around two points."""
    low, high = np.minimum(start, end) - pad, np.maximum(start, end) + pad
    return [np.where(choice, high, low) for choice in product((False, True), repeat=3)]


def write_person(folder):
    """Write the files below FOLDER/data/mpfb2 and return FOLDER/data/mpfb2."""
    root = folder / "data" / "mpfb2"
    for name in (
        "3dobjs",
        "rigs/standard",
        "targets/macrodetails/height",
        "targets/macrodetails/proportions",
    ):
        (root / name).mkdir(parents=True)
    lines, rig, weights, count = (
        ["# a person", "v 0 0 99", "v 1 0 99", "v 0 1 99", "g helper-hat", "f 1 2 3"],
        {},
        {},
        3,
    )
    for bone, joint, end in bones():
        for group, corners in ((f"joint-{bone}", box(joint, joint, 0.1)), ("body", box(joint, end, 0.4))):
            lines += [f"v {x} {y} {z}" for x, y, z in corners]
            lines += [f"g {group}", *("f " + " ".join(f"{count + i + 1}/1" for i in quad) for quad in QUADS)]
            count += 8
        head = {"strategy": "CUBE", "cube_name": f"joint-{bone}"}
        if bone == "Hips":  # two opposite corners of the same cube
            head = {"strategy": "MEAN", "vertex_indices": [count - 16, count - 9]}
        rig[f"mixamorig:{bone}"] = {"head": head, "parent": f"mixamorig:{PARENTS.get(bone, '')}"}
        weights[f"mixamorig:{bone}"] = [[i, 0.5] for i in range(count - 8, count)]
    for side in ("Left", "Right"):
        finger = f"mixamorig:{side}HandIndex1"
        rig[finger] = {"head": {}, "parent": f"mixamorig:{side}Hand"}
        weights[finger] = [[i, 1.5] for i, _ in weights[f"mixamorig:{side}Hand"][:4]]
    (root / "3dobjs" / "base.obj").write_text("\n".join(lines))
    (root / "rigs" / "standard" / "rig.mixamo.json").write_text(json.dumps({"bones": rig}))
    (root / "rigs" / "standard" / "weights.mixamo.json").write_text(json.dumps({"weights": weights}))
    for name in target_names():
        text = f"# moved\n{count - 1} 0 2.5 0\n" if name == TALLER else "# none\n"
        path = root / "targets" / "macrodetails" / f"{name}.target.gz"
        path.write_bytes(gzip.compress(text.encode(), compresslevel=1))
    return root


def target_names():
    """All names of macro targets of adults."""
    for sex, age in product(("female", "male"), ("young", "old")):
        yield from (f"{origin}-{sex}-{age}" for origin in ("african", "asian", "caucasian"))
        for muscle, weight in product(("min", "average", "max"), repeat=2):
            build = f"{sex}-{age}-{muscle}muscle-{weight}weight"
            yield f"universal-{build}"
            yield from (f"height/{build}-{end}height" for end in ("min", "max"))
            yield from (f"proportions/{build}-{end}proportions" for end in ("uncommon", "ideal"))
