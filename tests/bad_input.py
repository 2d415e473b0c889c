"""Bad input by the thousand, generated: fields, files, names, command lines and tables, all in one process.

python -m tests.bad_input --count 1000 --seed 0

Each is refused in one line that names the field, the file or the flag, within a second and without much
memory, and nothing is written; or it is legitimate, and what it asks for is there: parts that fit, clouds of
finite numbers, a plan. Anything else is bad. Prints the counts and exits with 1 where something was bad.
What there is to be wrong is asked of the library (`SECTIONS`, `READERS`, the flags of launch/), so that a
new entry is covered at once.
"""

import argparse
import contextlib
import functools
import io
import os
import re
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tests.commands import LAUNCH, QUICK, ROOT

if __name__ == "__main__":  # before jax is imported
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + QUICK

import h5py
import hypothesis
import numpy as np
from absl import flags
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, config_flags

from configs import bodies, embedded, folder, methods, pointda, pointsegda, segmentation, tables
from smdsb_jax.build import build_parts, load_domains
from smdsb_jax.config import flatten, resolve
from smdsb_jax.datasets import DATASETS
from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets.domain import SPLITS, Domain, Ragged, Split, assemble
from smdsb_jax.datasets.labels import with_labels, write_labels
from smdsb_jax.datasets.read import read_clouds, read_h5, read_labelled_npy
from smdsb_jax.datasets.readers import READERS
from smdsb_jax.datasets.summary import describe
from smdsb_jax.defaults import SECTIONS
from smdsb_jax.flags import parse_flags, user_errors
from smdsb_jax.registry import printable
from smdsb_jax.run.check import check_parts
from smdsb_jax.statistics import STATISTICS

GOOD = ("refused", "accepted")  # whatever else is said of a case is bad
SECONDS = 1.0  # of the processor, until a case is refused
TRACED = 4.0  # where only a trace of the network tells
BYTES = 200 * 2**20  # that it may take meanwhile
LETTERS = 2000  # of the line
HANGS = 30  # seconds, after which a case is given up


class Case(NamedTuple):
    """Something that may be wrong with what a user gives."""

    kind: str
    what: str  # in words, to find it again
    names: tuple[str, ...]  # of which a refusal has one
    attempt: Callable[[Path], None]  # in a folder of its own; raises, or is content
    prepare: Callable[[Path], None] = lambda folder: None  # puts there what is bad


class Hung(BaseException):
    """A case has not ended."""


# values

NUMBERS = st.one_of(
    st.sampled_from(
        [0, -1, 1, 2, 3, 4000, 2**20, 2**24, 2**31 - 1, 2**31, 2**63, 2**64, 10**30, 10**400, -(2**63)]
    ),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0, 1e-300, 1e300, 0.5, 1.0, 1e6, -1e-3]),
    st.integers(),
    st.floats(),
)
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "none",
            "True",
            "1e3",
            "a\nb",
            "a\rb",
            "\x00",
            "\x1b[2J",
            "..",
            "../..",
            "/",
            "~",
            "x" * 5000,
        ]
        + ["\udc80", "ä 🪑", "%s{}", ":", ":x", "x:", ".x:y", "os:getcwd", "no_such_module:x", "json:load"]
    ),
)
SIMPLE = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
ODD = st.one_of(
    SIMPLE,
    st.lists(SIMPLE, max_size=4).map(tuple),
    st.lists(NUMBERS, max_size=4).map(tuple),
    st.lists(SIMPLE, max_size=3),
    st.builds(lambda one, times: (one,) * times, NUMBERS, st.sampled_from([2, 3, 5, 2000])),
    st.sampled_from([{}, {"a": 1}, {"a": {"b": ()}}, b"x", ((1, 2), 3), 1j, {1, 2}, np.float64(0.5)]),
    st.sampled_from([np.int64(3), np.float32("nan"), np.zeros(3), range(3), object, len]),
)


def near(default: Any) -> st.SearchStrategy[Any]:
    """Values of the default's own type, which may well be allowed."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.one_of(st.integers(-3, 70), st.sampled_from([128, 1024, 4000, 2**16, 2**20, 2**24, 2**31]))
    if isinstance(default, float):
        return st.one_of(st.floats(-2, 2), st.sampled_from([1e-38, 1e30, 3.4e38, 1e-7, 100.0]))
    if isinstance(default, tuple) and default:
        return st.lists(near(default[0]), max_size=4).map(tuple)
    names = [*STATISTICS, *(name for known in SECTIONS.values() for name in known)]
    return st.one_of(TEXT, st.sampled_from(names))


def shown(value: Any) -> str:
    """Not more of it than tells what it is."""
    said = repr(value)
    return said if len(said) < 120 else f"{said[:120]}… of {len(said)} letters"


# configurations

FILES: dict[str, tuple[Any, tuple[str, ...]]] = {  # with the methods that they take
    "embedded.py:c2s,budget=study": (embedded, tuple(methods.METHODS)),
    "folder.py:a2b,budget=trial": (folder, tuple(methods.METHODS)),
    "pointda.py:m2s": (pointda, tuple(methods.METHODS)),
    "bodies.py:m2s,budget=study": (bodies, tuple(segmentation.METHODS)),
    "pointsegda.py:f2m": (pointsegda, tuple(segmentation.METHODS)),
}
OPTIONS = {  # of a file's argument
    "encoder": tuple(SECTIONS["encoder"]),
    "combine": tuple(SECTIONS["combine"]),
    "pretext": tuple(SECTIONS["pretext"]),
    "pseudo_labels": tuple(SECTIONS["pseudo_labels"]),
    "selection": (*STATISTICS, "none", *methods.PRESETS),
}


@functools.cache
def base(argument: str) -> ConfigDict | None:
    """The configuration of a file and its argument; None where its own checks refuse it."""
    file, _, own = argument.partition(":")
    try:
        config = next(made for name, (made, _) in FILES.items() if name.startswith(file)).get_config(own)
        config.encoder.update(embedded.SMALL[config.encoder.name])  # is traced in less time
        resolve(config)
    except ValueError:
        return None
    return config


@st.composite
def arguments(draw: Any) -> str:
    """Of a configuration that is right."""
    file = draw(st.sampled_from(sorted(FILES)))
    words = [file, "encoder=pointnet", f"method={draw(st.sampled_from(FILES[file][1]))}"]
    for option in draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=2, unique=True)):
        words.append(f"{option}={draw(st.sampled_from(OPTIONS[option]))}")
    argument = ",".join(words)
    return argument if base(argument) is not None else ",".join(words[:2])


@st.composite
def configurations(draw: Any) -> Case:
    """One field that is changed, taken away or added."""
    argument = draw(arguments())
    config = base(argument).to_dict()
    fields = sorted(flatten(config))
    field = draw(st.sampled_from(fields))
    how = draw(
        st.sampled_from(
            ["odd", "odd", "odd", "odd", "near", "near", "unknown", "section", "missing", "whole"]
        )
    )
    *sections, name = field.split(".")
    value = draw(near(flatten(config)[field]) if how == "near" else ODD)
    if how == "unknown":
        name = draw(st.sampled_from([f"{name}s", name.upper(), "", "x", "ä\n", "name", "steps"]))
        sections = sections if f"{'.'.join([*sections, name])}" not in fields else [*sections, "x"]
    elif how == "section":
        sections, name = [], draw(st.sampled_from(["Selection", "stage3", "selections", "x\ny", "names"]))
        value = draw(st.one_of(ODD, st.just({}), st.just({"a": {}})))
    elif how == "whole" and sections:
        name = sections.pop()
    holder = config
    for section in sections:
        holder = holder.setdefault(section, {})
    if how == "missing":
        holder.pop(name)
    else:
        holder[name] = value
    path = ".".join([*sections, name])
    told = f"{argument} {path} {'missing' if how == 'missing' else f'= {shown(value)}'}"
    names = (path, name or "config. is", repr(name)[1:-1], *sections[:1])
    return Case("configuration", told, names, functools.partial(check_config, config, field))


def check_config(config: dict[str, Any], field: str, _: Path) -> None:
    """As a training checks it before it makes a file; of the data where a field of theirs has changed."""
    with within(SECONDS):
        resolved = resolve(ConfigDict(config))
    with within(TRACED):
        if field.startswith("data.") and resolved.data.name in ("embedded", "bodies"):
            load_domains(resolved)
        check_parts(resolved, build_parts(resolved, resolved.stages[0], 8))


# files

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
OWN_FORMATS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], None]]] = {
    "labels of clouds": (".h5", lambda: saved(hdf5, "a.h5"), check_h5),
    "labels of points": (".npy", lambda: saved(lambda path: np.save(path, np.c_[CLOUD, np.arange(12) % 8 + 1]), "a.npy"), check_parts_file),
    "cache": (".npz", lambda: saved(lambda path: np.savez(path, **a_cache()), "a.npz"), check_cache),
    "source_labels": (".npz", lambda: saved(lambda path: write_labels(path, LABELS), "a.npz"), check_labels),
}  # fmt: skip


@st.composite
def files(draw: Any) -> Case:
    """A file of any kind that is read, damaged."""
    kind = draw(st.sampled_from([*READERS, *READERS, *OWN_FORMATS]))
    if kind in READERS:
        suffix, check, content = kind, check_clouds, draw(st.sampled_from(whole_files()[kind]))
        if draw(st.integers(0, 9)) == 0:  # that of another
            content = draw(st.sampled_from(whole_files()[draw(st.sampled_from(sorted(READERS)))]))
    else:
        suffix, make, check = OWN_FORMATS[kind]
        content = make()
    name = f"cloud{suffix.upper() if draw(st.integers(0, 9)) == 0 else suffix}"
    special = draw(st.sampled_from([*SPECIAL, *[""] * 60]))
    if special:
        return Case("file", f"{kind}: {special}", (name,), lambda place: check(place / name),
                    lambda place: put_special(special, place / name))  # fmt: skip
    if kind in ("cache", "source_labels") and draw(st.booleans()):  # whole, of wrong arrays
        arrays = a_cache() if kind == "cache" else LABELS
        key = draw(st.sampled_from(sorted(arrays)))
        value = draw(
            st.one_of(
                st.just(None),
                st.sampled_from(
                    [
                        arrays[key][..., :-1],
                        -arrays[key].astype(int) if arrays[key].dtype.kind in "iu" else 0,
                        arrays[key].astype("S3"),
                    ]
                )
                if arrays[key].ndim
                else st.just(None),
            )
        )
        value = strange_arrays(draw) if value is None else value
        content = saved(lambda path: np.savez(path, **(arrays | {key: value})), "a.npz")
        told = f"{kind}: {key} = {shown(value)}"
    else:
        content = draw(damaged(suffix, content))
        told = f"{kind}: {len(content)} bytes, {shown(content)}"
    return Case("file", told, (name,), lambda place: check(place / name),
                lambda place: (place / name).write_bytes(content))  # fmt: skip


# folders

NAMES = st.one_of(
    st.sampled_from(["a\nb", "a\rb", "\x1b[2J", " ", "a b", "ä", "\udc80", "|", "a,b", "a=b", "%", "-", "x" * 255, "2", "~"]
                    + [".hidden", "train", "test", "val", "unlabelled", "cache", "chair", "CON", "a:b", "'", "a\\b", "\u202e"]),
    st.text(min_size=1, max_size=6).filter(lambda name: not set(name) & {"/", "\0"} and name not in (".", "..")),
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


# command lines

IN_THE_WAY = {  # what a command would do, were the rest of its words right
    "train.py": ["--config=configs/embedded.py:c2s,budget=study,encoder=pointnet", "--workdir={}/run"],
    "evaluate.py": ["--workdir={}/run"],
    "predict.py": ["--workdir={}/run", "{}/cloud.npy"],
    "analyze.py": ["--workdir={}/run", "--out={}/out"],
    "sweep.py": ["--table=configs/tables.py:alpha", "--workdir={}/runs", "--dry_run", "--seeds=1"],
    "benchmark.py": ["--out={}/out"],
    "gpu_check.py": ["--out={}/out"],
    "prepare_data.py": ["--data={}/data"],
    "simulate_scans.py": ["--data={}/data", "--out={}/out"],
}
ARGPARSE = {
    "prepare_data.py": ("data", "cache", "mesh_points", "seed", "verify", "allow-incomplete"),
    "simulate_scans.py": ("data", "out", "classes", "points", "scan_points", "mesh_points", "seed"),
}
WORDS = st.one_of(
    SIMPLE.map(str),
    st.sampled_from(["", "1.5", "-1", "0", "nan", "99999999999999999999", "a,b", "1,,2", "..", "/", "x:y", "()", "[", "{}/run"]),
    st.sampled_from([f"configs/{name}" for name in ("tables.py", "tables.py:x", "embedded.py:zz", "embedded.py:c2s,x=1")]),
).filter(lambda word: "\0" not in word)  # fmt: skip


@functools.cache
def command(script: str) -> tuple[flags.FlagValues, dict[str, Any], tuple[str, ...]]:
    """The flags of a script of launch/, apart from those of all others, and what it defines, and their names."""
    own = flags.FlagValues()
    with contextlib.ExitStack() as stack:
        for module in (flags, config_flags):
            for name in (
                name for name in dir(module) if name.startswith("DEFINE_") and name != "DEFINE_flag"
            ):
                define = functools.partial(getattr(module, name), flag_values=own)
                stack.enter_context(mock.patch.object(module, name, define))
        flags.DEFINE_boolean("debug", False, "")
        module = runpy.run_path(str(LAUNCH / script), run_name="launch")
        return own, module, tuple(own)


def own_flags(script: str) -> list[str]:
    """The names of a script's flags."""
    return sorted({*command(script)[2]} - {"debug"}) or list(ARGPARSE[script])


@st.composite
def command_lines(draw: Any) -> Case:
    """A word of a command that is wrong."""
    script = draw(st.sampled_from(sorted(IN_THE_WAY)))
    name, value = draw(st.sampled_from(own_flags(script))), draw(WORDS)
    how = draw(st.sampled_from(["value", "value", "value", "alone", "unknown", "word", "no", "field"]))
    word = {
        "alone": f"--{name}", "unknown": f"--{name}s={value}", "word": value, "no": f"--no{name}",
    }.get(how, f"--{name}={value}")  # fmt: skip
    names = (
        name,
        value,
        repr(value)[1:-1],
        "/run",
        "/data",
        "/out",
        "/cloud.npy",
        "sees no GPU",
        "is no flag",
        "is no flag",
        "unrecognized",
        value.lstrip("-"),
    )
    if how == "field" and script in ("train.py", "sweep.py"):
        field = draw(st.sampled_from(sorted(flatten(base("embedded.py:c2s,budget=study,encoder=pointnet")))))
        dot = draw(st.sampled_from(["", "", "", ".x", "s"]))
        word = f"--config.{field}{dot}={value}" if script == "train.py" else f"--field={field}{dot}={value}"
        names = (field, *field.split(".")[-1:], value)
    return Case("command line", f"{script} {word!r}", names, functools.partial(give, script, word))


def give(script: str, word: str, place: Path) -> None:
    """The command in this process, as far as its checks; what it says instead of a traceback is raised."""
    own, module, known = command(script)
    for name in {*own} - {*known}:  # overrides of a configuration
        delattr(own, name)
    words = [text.replace("{}", str(place)) for text in (*IN_THE_WAY[script], word)]
    words += ["--dry_run"] * (script == "sweep.py")  # the last counts
    out, error = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors=errors) for errors in ("strict", "backslashreplace")
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), mock.patch.object(flags, "FLAGS", own), \
            mock.patch.object(sys, "argv", [script, *words]):  # fmt: skip
        own.unparse_flags()
        for name in own:
            own[name].unparse()
        code: Any = 0
        try:
            if script in ARGPARSE:
                code = module["main"](words)
            else:
                rest = parse_flags([script, *words])
                if script == "train.py":
                    user_errors(lambda _: check_training(own))(rest)
                elif script != "benchmark.py":  # it would measure
                    code = user_errors(module["main"], takes_words=script == "predict.py")(rest)
        except SystemExit as stopped:
            code = stopped.code
        out.flush(), error.flush()
    said = error.buffer.getvalue().decode()
    if isinstance(code, str):  # sys.exit("…")
        said, code = f"{code}\n", 1
    if code:
        raise Refused(said.removesuffix("\n"))
    assert not said, said


class Refused(ValueError):
    """What a command has said to the standard error."""


def check_training(own: flags.FlagValues) -> int:
    """The first lines of launch/train.py."""
    resolve(own["config"].value)
    return 0


# tables

ROW = st.sampled_from(["table1", "alpha", "hosts", "decide", "selection", *tables.TABLES])


@st.composite
def tables_of_runs(draw: Any) -> Case:
    """A table, its options or a field for all of its rows."""
    how = draw(st.sampled_from(["argument", "field", "field", "directions", "seeds", "file"]))
    name, value = draw(ROW), draw(WORDS)
    fields = sorted(flatten(base("embedded.py:c2s,budget=study,encoder=pointnet")))
    words = (
        ["--directions=m2s" if name == "table2" else "--directions=c2s"]
        if how != "directions"
        else [f"--directions={value}"]
    )
    argument, names = f"configs/tables.py:{name},data=embedded", (value, repr(value)[1:-1], "table")
    if how == "argument":
        option = draw(st.sampled_from(["data", "table", "direction", "seeds", "", "x"]))
        argument = draw(
            st.sampled_from([f"configs/tables.py:{name},{option}={value}", f"configs/tables.py:{value}"])
        )
        names += (option, name)
    elif how == "file":
        argument = f"{value}:{name}"
    elif how == "seeds":
        words.append(f"--seeds={value}")
        names += ("seeds",)
    elif how == "field":
        field = draw(st.sampled_from(fields))
        words.append(f"--field={field}={value}")
        names += (field, field.split(".")[-1])
    elif how == "directions":
        names += ("direction", "directions")
    words.append(f"--table={argument}")

    def attempt(place: Path) -> None:
        # the last of a flag counts; seeds of its own where the case has none
        give_all("sweep.py", [f"--workdir={place}/runs", "--dry_run", "--seeds=1", *words], place)

    return Case("table", f"{words}", (*names, "/runs", "direction"), attempt)


def give_all(script: str, words: Sequence[str], place: Path) -> None:
    """A whole command line."""
    with mock.patch.dict(IN_THE_WAY, {script: list(words[:-1])}):
        give(script, words[-1], place)


# judging

KINDS: dict[str, tuple[st.SearchStrategy[Case], int]] = {  # and how many of a dozen
    "configuration": (configurations(), 5),
    "file": (files(), 3),
    "folder": (folders(), 1),
    "command line": (command_lines(), 2),
    "table": (tables_of_runs(), 1),
}


class Slow(Exception):
    """More time than a refusal may take."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Of the processor's time, until it raises. What is right may take longer."""
    begun = time.process_time()
    try:
        yield
    except (ValueError, OSError) as error:
        if time.process_time() - begun > seconds:
            raise Slow(f"{time.process_time() - begun:.1f} s: {error}") from error
        raise


def peak_bytes(reset: bool = False) -> int:
    """Of this process since the last reset, where the system counts it."""
    if not Path("/proc/self/clear_refs").exists():
        return 0
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def seen(place: Path) -> list[tuple[str, int]]:
    """All there is in the folder, and in that of the library."""
    inside = [(str(path), path.lstat().st_mtime_ns) for path in sorted(place.rglob("*"))]
    return inside + [(name, 0) for name in sorted(os.listdir(ROOT))]


def judge(case: Case, place: Path) -> tuple[str, str]:
    """What came of a case, and what was said."""
    case.prepare(place)
    before, held = seen(place), peak_bytes(reset=True)

    def give_up(*_: object) -> None:
        raise Hung

    earlier = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANGS)
    try:
        with within(SECONDS if case.kind != "configuration" else TRACED):
            case.attempt(place)
        outcome, said = "accepted", ""
    except (ValueError, OSError) as error:
        outcome, said = "refused", str(error)
    except Slow as error:
        outcome, said = "slow", str(error)
    except Hung:
        outcome, said = "hangs", f"for {HANGS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome, said = "another error", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    taken = peak_bytes() - held
    if seen(place) != before:
        return "written", f"{set(seen(place)) ^ set(before)}"
    if taken > BYTES:
        return "memory", f"{taken / 2**20:.0f} MiB, {outcome}: {said}"
    if outcome == "refused":
        outcome = told_well(said, case.names)
    return outcome, said


def told_well(said: str, names: Sequence[str]) -> str:
    """Whether an error is one line that tells where."""
    if len(said.splitlines()) != 1 or re.search(r"[\x00-\x1f\x7f-\x9f]", said):
        return "several lines"
    if len(said) > LETTERS:
        return "endless"
    return "refused" if any(name and name in said for name in names) else "unnamed"


def campaign(
    count: int, seed: int, kinds: Sequence[str] = (), out: Path | None = None
) -> Counter[tuple[str, str]]:
    """So many cases; (kind, outcome) → how often. Bad ones are printed."""
    found: Counter[tuple[str, str]] = Counter()
    chosen = [
        strategy
        for name, (strategy, weight) in KINDS.items()
        if not kinds or name in kinds
        for _ in range(weight)
    ]

    @hypothesis.seed(seed)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck), print_blob=False)  # fmt: skip
    @given(st.integers(0, len(chosen) - 1).flatmap(chosen.__getitem__))
    def each(case: Case) -> None:
        place = Path(tempfile.mkdtemp(dir=out))
        try:
            outcome, said = judge(case, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        found[case.kind, outcome] += 1
        if outcome not in GOOD:
            print(f"{case.kind}: {outcome}: {case.what}\n    {said[:600]!r}", flush=True)

    with tempfile.TemporaryDirectory(dir=out) as place:
        warm_up(Path(place))
    each()
    return found


def warm_up(place: Path) -> None:
    """What a process does once, as to import what reads a format, is no time of the first case."""
    for suffix, contents in whole_files().items():
        (place / f"a{suffix}").write_bytes(contents[0])
        check_clouds(place / f"a{suffix}")
    give_all(
        "sweep.py",
        ["--workdir={}/runs", "--dry_run", "--seeds=1", "--table=configs/tables.py:agreement"],
        place,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bad_input", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is generated (%(default)s)")
    parser.add_argument("--kinds", default="", help=f"some of {', '.join(KINDS)}, with commas; default: all")
    given_ = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as out:
        found = campaign(given_.count, given_.seed, list(filter(None, given_.kinds.split(","))), Path(out))
    for (kind, outcome), count in sorted(found.items()):
        print(f"{count:5d}  {kind}: {outcome}")
    return int(any(outcome not in GOOD for _, outcome in found))


if __name__ == "__main__":
    sys.exit(main())
