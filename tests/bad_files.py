"""Damaged files, and folders of odd names: cases of tests/bad_input.py."""

import functools
import io
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

from smdsb_jax.datasets import DATASETS
from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets.domain import SPLITS, Domain, Ragged, Split, assemble
from smdsb_jax.datasets.labels import with_labels, write_labels
from smdsb_jax.datasets.read import read_clouds, read_h5, read_labelled_npy
from smdsb_jax.datasets.readers import READERS
from smdsb_jax.datasets.summary import describe
from smdsb_jax.registry import printable
from tests.bad_values import Case, shown

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(12, 3)).astype(np.float32)
ROWS = "\n".join(" ".join(f"{x:.4f}" for x in row) for row in CLOUD)
FACES = "\n".join(f"3 {i} {i + 1} {i + 2}" for i in range(10))


def saved(write: Callable[[Path], Any], name: str) -> bytes:
    """What `write` puts into a file of this name."""
    with tempfile.TemporaryDirectory() as place:
        write(Path(place, name))
        return Path(place, name).read_bytes()


def las(path: Path) -> None:
    """The cloud as a scan."""
    import laspy

    scan = laspy.LasData(laspy.LasHeader(version="1.4", point_format=6))
    scan.x, scan.y, scan.z = CLOUD.astype(float).T
    scan.write(path)


def hdf5(path: Path) -> None:
    """Clouds and their labels."""
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.stack([CLOUD] * 4), np.arange(4)


def pcd(data: str) -> bytes:
    """The cloud as the Point Cloud Library writes it."""
    head = f"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 12\nHEIGHT 1\nPOINTS 12\nDATA {data}\n"
    return f"VERSION 0.7\n{head}".encode() + (ROWS.encode() if data == "ascii" else CLOUD.tobytes())


def ply(form: str) -> bytes:
    """A mesh, of one triangle where it is binary."""
    head = (
        f"ply\nformat {form} 1.0\nelement vertex 12\nproperty float x\nproperty float y\nproperty float z\n"
    )
    head += (
        f"element face {10 if form == 'ascii' else 1}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    binary = CLOUD.tobytes() + b"\x03" + np.arange(3, dtype="<i4").tobytes()
    return head.encode() + (f"{ROWS}\n{FACES}\n".encode() if form == "ascii" else binary)


def stl(binary: bool) -> bytes:
    """Four triangles."""
    corners = CLOUD.reshape(4, 3, 3)
    if binary:
        return bytes(80) + b"\x04\0\0\0" + b"".join(bytes(12) + t.tobytes() + b"\0\0" for t in corners)
    loops = [
        "facet normal 0 0 1\nouter loop\n"
        + "".join(f"vertex {x} {y} {z}\n" for x, y, z in triangle)
        + "endloop\nendfacet\n"
        for triangle in corners
    ]
    return f"solid a\n{''.join(loops)}endsolid a\n".encode()


@functools.cache
def whole_files() -> dict[str, list[bytes]]:
    """What is right, by suffix."""
    table = "x,y,z\n" + ROWS.replace(" ", ",")
    texts = {".xyz": ROWS, ".txt": ROWS, ".csv": table, ".pts": f"12\n{ROWS}"}
    h5 = saved(hdf5, "a.h5")
    found = {
        ".npy": [saved(lambda path: np.save(path, CLOUD), "a.npy")],
        ".npz": [saved(lambda path: np.savez(path, points=CLOUD), "a.npz"),
                 saved(lambda path: np.savez_compressed(path, a=CLOUD, points=CLOUD), "a.npz")],
        ".ply": [ply("ascii"), ply("binary_little_endian")],
        ".off": [f"OFF\n12 10 0\n{ROWS}\n{FACES}\n".encode()],
        ".obj": ["".join(f"v {line}\n" for line in ROWS.split("\n")).encode() + b"f 1 2 3\nf 4/1 5/2 6/3\n"],
        ".stl": [stl(True), stl(False)],
        ".pcd": [pcd("ascii"), pcd("binary")],
        ".las": [saved(las, "a.las")],
        ".laz": [saved(las, "a.laz")],
        ".h5": [h5],
        ".hdf5": [h5],
    }  # fmt: skip
    return found | {suffix: [text.encode()] for suffix, text in texts.items()}


def strange_arrays(draw: Any) -> np.ndarray:
    """An array as no cloud is."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 12, 40]), max_size=4))
    kind = draw(st.sampled_from(["f2", "f4", "f8", ">f8", "i1", "u8", "c8", "?", "U3", "S2", "M8[s]", "V4"]))
    array = np.zeros(shape, kind)
    if array.dtype.kind == "f" and array.size:
        array.flat[0] = draw(st.sampled_from([0, np.nan, np.inf, -np.inf, 1]))
    return array


NUMERALS = re.compile(rb"-?\d+(?:\.\d+)?")
HUGE = [
    b"0",
    b"-1",
    b"999999999",
    b"99999999999999999999",
    b"1e300",
    b"nan",
    b"inf",
    b"x",
    b"",
    b"3.5",
    b"\xff",
]


@st.composite
def damaged(draw: Any, suffix: str, content: bytes) -> bytes:
    """A content that is cut, flipped, swapped, or says other numbers than it holds."""
    how = draw(
        st.sampled_from(["cut", "flipped", "flipped", "random", "empty", "number", "number", "twice", "odd"])
    )
    if how == "cut":
        return content[: draw(st.integers(0, len(content) - 1))]
    if how == "flipped":
        found = bytearray(content)
        end = draw(st.sampled_from([len(content), min(400, len(content))]))  # headers more often
        for place in draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=4)):
            found[place] = draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 127, 255])))
        return bytes(found)
    if how == "number":
        numbers = list(NUMERALS.finditer(content[:4000]))
        if numbers:
            first = draw(st.sampled_from(numbers))
            return content[: first.start()] + draw(st.sampled_from(HUGE)) + content[first.end() :]
    if how == "twice":
        place = draw(st.integers(0, len(content)))
        return content[:place] + content[: draw(st.integers(0, len(content)))] + content[place:]
    if how == "odd" and suffix in (".npy", ".npz", ".h5", ".hdf5"):
        array = strange_arrays(draw)
        if suffix == ".npy":
            return saved(lambda path: np.save(path, array), "a.npy")
        if suffix == ".npz":
            return saved(lambda path: np.savez(path, points=array), "a.npz")
        if array.dtype.kind not in "UM":
            return saved(
                lambda path: h5py.File(path, "w").create_dataset("data", data=array).file.close(), "a.h5"
            )
    return b"" if how == "empty" else draw(st.binary(min_size=1, max_size=300))


def put_special(how: str, path: Path) -> None:
    """What has the name of a file and is none."""
    if how == "folder":
        path.mkdir()
    elif how == "loop":
        path.symlink_to(path)
    elif how == "nowhere":
        path.symlink_to(path.with_name("nothing"))
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "device":
        path.symlink_to("/dev/zero")


SPECIAL = ("folder", "loop", "nowhere", "pipe", "device", "absent")


def check_clouds(path: Path) -> None:
    """What the library would train on is clouds of finite numbers."""
    for cloud in read_clouds(path, mesh_points=64):
        assert cloud.ndim == 2 and cloud.shape[1] == 3 and len(cloud), cloud.shape
        assert np.isfinite(cloud).all() and cloud.dtype.kind == "f"


def check_h5(path: Path) -> None:
    """As PointDA-10 has them."""
    points, label = read_h5(path, 10, "Do this.")
    assert np.isfinite(points).all() and points.shape[::2] == (len(label), 3)


def check_parts_file(path: Path) -> None:
    """As PointSegDA has them."""
    points, label = read_labelled_npy(path, 8, "Do this.")
    assert np.isfinite(points).all() and set(label.tolist()) <= set(range(8)) and len(points) == len(label)


def check_cache(path: Path) -> None:
    """As launch/prepare_data.py writes them."""
    found = caches.read(path, "Do this.")
    check_domain(assemble("cache", found.classes, found.ragged, 8))


def check_labels(path: Path) -> None:
    """As reverse validation gives them."""
    few = Split(np.zeros((4, 8, 3), np.float32), np.zeros(4, np.int32))
    check_domain(with_labels(Domain("scan", ("a", "b"), few, few, few), str(path)))


def check_domain(domain: Domain) -> None:
    """Finite numbers, and labels that are classes, or -1; and a summary of it."""
    for split in domain.splits:
        assert np.isfinite(split.points).all() and split.points.shape[2:] == (3,)
        assert len(split.points) == len(split.label) and split.label.dtype.kind == "i"
        assert split.label.size == 0 or -1 <= split.label.min() <= split.label.max() < len(domain.classes)
    describe({domain.name: domain}).encode()


@functools.cache
def a_cache() -> dict[str, np.ndarray]:
    """The arrays of a cache."""
    label, split = np.array([0, 1, 0, 1, 0], np.int32), np.array([0, 0, 1, 2, 2], np.uint8)
    ragged = Ragged(np.tile(CLOUD, (5, 1)), np.full(5, 12, np.int32), label, split)
    content = saved(lambda path: caches.write(path, ragged, {"a": (1, 2)}, ("a", "b")), "a.npz")
    return dict(np.load(io.BytesIO(content)))


LABELS = {split: np.zeros(4, np.int32) for split in SPLITS}
OF_POINTS = np.c_[CLOUD, np.arange(12) % 8 + 1]
# whole ones: suffix, what writes it, and what reads it
OWN_FORMATS: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], None]]] = {
    "labels of clouds": (".h5", hdf5, check_h5),
    "labels of points": (".npy", lambda path: np.save(path, OF_POINTS), check_parts_file),
    "cache": (".npz", lambda path: np.savez(path, **a_cache()), check_cache),
    "source_labels": (".npz", lambda path: write_labels(path, LABELS), check_labels),
}


@st.composite
def files(draw: Any) -> Case:
    """A file of any kind that is read, damaged."""
    kind = draw(st.sampled_from([*READERS, *READERS, *OWN_FORMATS]))
    if kind in READERS:
        suffix, check, content = kind, check_clouds, draw(st.sampled_from(whole_files()[kind]))
        if draw(st.integers(0, 9)) == 0:  # that of another
            content = draw(st.sampled_from(whole_files()[draw(st.sampled_from(sorted(READERS)))]))
    else:
        suffix, write, check = OWN_FORMATS[kind]
        content = saved(write, f"a{suffix}")
    name = f"cloud{suffix.upper() if draw(st.integers(0, 9)) == 0 else suffix}"
    special = draw(st.sampled_from([*SPECIAL, *[""] * 60]))
    if special:
        what = f"{kind}: {special}"
        return of_file(what, name, check, lambda path: put_special(special, path))
    if kind in ("cache", "source_labels") and draw(st.booleans()):  # whole, of wrong arrays
        arrays = a_cache() if kind == "cache" else LABELS
        key = draw(st.sampled_from(sorted(arrays)))
        held = arrays[key]
        own = (
            held.reshape(-1)[:-1],
            -held.astype(int) if held.dtype.kind in "iu" else held,
            held.astype("S3"),
        )
        value = draw(st.sampled_from([None, None, None, *own]))
        value = strange_arrays(draw) if value is None else value
        content = saved(lambda path: np.savez(path, **(arrays | {key: value})), "a.npz")
        told = f"{kind}: {key} = {shown(value)}"
    else:
        content = draw(damaged(suffix, content))
        told = f"{kind}: {len(content)} bytes, {shown(content)}"
    return of_file(told, name, check, lambda path: path.write_bytes(content))


def of_file(what: str, name: str, check: Callable[[Path], None], put: Callable[[Path], Any]) -> Case:
    """A case of one file, which `put` writes and `check` reads."""
    return Case(
        "file",
        what,
        (name, "Domain 'cache'"),
        lambda place: check(place / name),
        lambda place: put(place / name),
    )


NAMES = st.one_of(
    st.sampled_from([
        "a\nb", "a\rb", "\x1b[2J", " ", "a b", "ä", "\udc80", "|", "a,b", "a=b", "%", "-", "x" * 255, "2",
        "~", ".hidden", "train", "test", "val", "unlabelled", "cache", "chair", "CON", "a:b", "'", "a\\b",
        "\u202e",
    ]),
    st.text(min_size=1, max_size=6).filter(lambda name: not {*name} & {*"/\0"} and name.strip(".")),
)  # fmt: skip
PARTS = st.one_of(NAMES, st.sampled_from(["", "..", ".", "../..", "/", "a/b", "\0", "x" * 300]))


@st.composite
def folders(draw: Any) -> Case:
    """A data set of one's own, in which something has an odd name, or is what it should not be."""
    layout = draw(st.sampled_from(["by split", "by class", "h5 files", "synsets"]))
    odd, where = (
        draw(NAMES),
        draw(st.sampled_from(["class", "domain", "stray", "beside", "list", "special", "root"])),
    )
    given_ = draw(PARTS)
    special = draw(st.sampled_from(SPECIAL[:-1]))

    def prepare(place: Path) -> None:
        domain = place / "data" / (odd if where == "domain" else "cad")
        classes = ("bed", odd if where == "class" else "sofa")
        for split in ("train", "test"):
            for label in classes:
                parts = {"by split": (split, label), "by class": (label, split)}.get(layout, (label,))
                if layout != "h5 files":
                    domain.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                    for number in range(3):
                        np.save(domain.joinpath(*parts, f"{split}{number}.npy"), CLOUD + number)
        domain.mkdir(parents=True, exist_ok=True)
        if layout == "h5 files":
            hdf5(domain / "train.h5")
            text = "\n".join(
                ["bed", "sofa", given_ if where == "list" else "lamp", odd if where == "class" else "desk"]
            )
            (domain / "classes.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
        if layout == "synsets":
            text = "".join(f"{label}\t{label}\n" for label in classes) + (
                f"x {given_}\n" if where == "list" else ""
            )
            (domain / "synsetoffset2category.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
            if where == "beside":
                (domain / "train_test_split").mkdir()
                (domain / "train_test_split" / "train_file_list.json").write_text(
                    f'["a/bed/train0", {odd!r}, 5]'
                )
        beside = next(path for path in sorted(domain.rglob("*")) if not path.is_dir()).parent
        if where == "stray" and not (beside / odd).exists():
            (beside / odd).write_bytes(b"x")
        if where == "special":
            put_special(special, beside / "train9.npy")
        if where == "beside" and layout != "synsets":
            np.save(domain / "train.npy", CLOUD)

    def attempt(place: Path) -> None:
        root = str(place / "data") if where != "root" else f"{place}/{given_}"
        domain = odd if where == "domain" else given_ if where == "list" and layout[0] == "b" else "cad"
        check_domain(DATASETS["folder"](root, domain, points=8))

    told = f"{layout}, {where}: {odd!r}, {given_!r}, {special}"
    return Case(
        "folder",
        told,
        ("data", "cad", odd, given_, printable(odd), printable(given_), "Rename it"),
        attempt,
        prepare,
    )
