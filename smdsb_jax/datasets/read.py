"""Read the clouds of one file and refuse, by its name, whatever is wrong with it."""

import os
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.datasets.readers import READERS, Mesh, Reader
from smdsb_jax.datasets.readers.arrays import read_npy as read_npy_array
from smdsb_jax.datasets.readers.base import MissingPackage, Unreadable, check_file
from smdsb_jax.datasets.readers.hdf5 import read_dataset
from smdsb_jax.datasets.readers.mesh import sample
from smdsb_jax.registry import printable

MESH_POINTS = 2048  # drawn on the surface of a mesh
REMEDY = "Export it again, or save its points as a numeric array (points, 3) with numpy.save."


def read_clouds(
    path: Path, *, mesh_points: int = MESH_POINTS, seed: int = 0
) -> list[Float[np.ndarray, "_ 3"]]:
    """All clouds of a file, by its suffix, of which capital letters do not matter.

    float32 stays so; other numbers become float64, and points on meshes are float64. (Map coordinates and
    other large numbers lose their small differences in float32: `normalize` first.)

    Args:
      path: of the file.
      mesh_points: drawn uniformly by area where it holds a mesh.
      seed: of the drawing; the same file and seed give the same points, to the bit.

    Raises:
      ValueError: a suffix that is not of `READERS`, or a file that is missing, damaged, or holds no clouds of
        finite numbers; one line with the file's name.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: the suffix {path.suffix or '(none)'} is none of {', '.join(READERS)}.")
    content = _content(path, reader, REMEDY)
    if isinstance(content, Mesh):
        return [checked_cloud(_drawn(content, mesh_points, seed, path), str(path), REMEDY)]
    if content.ndim != 3:
        return [checked_cloud(content, str(path), REMEDY)]
    if len(content) == 0:
        raise ValueError(f"{path}: holds no clouds, shape {content.shape}. {REMEDY}")
    names = [f"{path}, cloud {number}" if len(content) > 1 else str(path) for number in range(len(content))]
    return [checked_cloud(cloud, name, REMEDY) for cloud, name in zip(content, names, strict=True)]


def read_cloud(path: Path, *, mesh_points: int = MESH_POINTS, seed: int = 0) -> Float[np.ndarray, "p 3"]:
    """The points of a file of one cloud, as `read_clouds` gives them.

    Raises:
      ValueError: as `read_clouds`; several clouds.
    """
    clouds = read_clouds(path, mesh_points=mesh_points, seed=seed)
    if len(clouds) > 1:
        raise ValueError(f"{path}: holds {len(clouds)} clouds, where one is expected. Save each in a file.")
    return clouds[0]


def _drawn(mesh: Mesh, count: int, seed: int, path: Path) -> Float[np.ndarray, "count 3"]:
    problem = _problem(mesh.vertices)
    if problem:
        raise ValueError(f"{path}: its vertices: {problem}. {REMEDY}")
    try:
        return sample(mesh, count, seed)
    except Unreadable as error:
        raise ValueError(f"{path}: {error}. {REMEDY}") from None


def _content(path: Path, read: Reader, remedy: str) -> np.ndarray | Mesh:
    """What a reader gives, or its error in one line with the file's name, ending in `remedy`."""
    try:
        check_file(path)
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except Unreadable as error:
        raise ValueError(f"{path}: {printable(str(error))}. {remedy}") from None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        cause = "no such file" if missing else (error.strerror or "cannot be opened").lower()
        raise ValueError(f"{path}: {cause}. {remedy}") from None
    if is_empty:
        raise ValueError(f"{path}: is empty. {remedy}")
    try:
        return read(path)
    except MissingPackage as error:  # it says itself what to do
        raise ValueError(f"{path}: {error}") from None
    except Unreadable as error:
        raise ValueError(f"{path}: {printable(str(error))}. {remedy}") from error
    except Exception as error:  # damaged bytes make the libraries raise almost anything
        raise ValueError(f"{path}: {_damaged(error, f'a {path.suffix.lower()}')}. {remedy}") from error


def read_npy(path: Path, remedy: str) -> Float[np.ndarray, "p 3"]:
    """The first three columns of an npy file's array [P, C >= 3], as `read_clouds` gives them.

    Raises:
      ValueError: missing, truncated, pickled, not numbers, wrong shape, transposed, empty, NaN or infinite;
        one line with the file's name, ending in `remedy`.
    """
    array = _content(path, read_npy_array, remedy)
    assert isinstance(array, np.ndarray)
    return checked_cloud(array, str(path), remedy)


def read_labelled_npy(
    path: Path, classes: int, remedy: str
) -> tuple[Float[np.ndarray, "p 3"], Int[np.ndarray, " p"]]:
    """Points and their labels of an npy file's array [P, C >= 4] of x, y, z, label; further columns ignored.

    The labels are 1 to `classes` in the file, and 0 to `classes` - 1, int32, as returned.

    Raises:
      ValueError: as `read_npy`; fewer columns, labels that are others; one line with the file's name, ending
        in `remedy`.
    """
    array = _content(path, read_npy_array, remedy)
    assert isinstance(array, np.ndarray)
    if array.ndim != 2 or array.shape[1] < 4:
        raise ValueError(
            f"{path}: shape {array.shape}, not (points, 4 or more columns); the fourth is the label. Shapes "
            f"without labels are for smdsb predict. {remedy}"
        )
    points, label = checked_cloud(array, str(path), remedy), array[:, 3]
    wrong = np.flatnonzero(~np.isin(label, np.arange(1, classes + 1)))
    if len(wrong):
        raise ValueError(
            f"{path}: {len(wrong)} of {len(label)} labels are no whole number from 1 to {classes} (first: "
            f"{label[wrong[0]]:g} in row {wrong[0]}). {remedy}"
        )
    return points, label.astype(np.int32) - 1


def checked_cloud(array: np.ndarray, name: str, remedy: str) -> Float[np.ndarray, "p 3"]:
    """The coordinates of an array [P, C >= 3], as `read_npy` gives them.

    Raises:
      ValueError: not numbers, wrong shape, transposed, empty, NaN or infinite; one line that begins with
        `name`.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: holds {array.dtype}, not numbers. {remedy}")
    if array.ndim != 2 or array.shape[1] < 3:
        raise ValueError(f"{name}: shape {array.shape}, not (points, 3 or more columns). {remedy}")
    if looks_transposed(array.shape):
        raise ValueError(f"{name}: shape {array.shape} looks transposed: give cloud.T. {remedy}")
    points = _coordinates(array)
    problem = _problem(points)
    if problem:
        raise ValueError(f"{name}: {problem}. {remedy}")
    return points


def find_clouds(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The files in a folder that can be read, sorted, and how many others there are by suffix."""
    files = sorted((p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=str)
    found = [path for path in files if path.suffix.lower() in READERS]
    return found, Counter(path.suffix or path.name for path in files if path.suffix.lower() not in READERS)


def find_all_clouds(folder: Path) -> tuple[list[Path], Counter[str]]:
    """As `find_clouds`, in the folder and all folders in it, sorted by path; hidden ones are passed over.

    Links to folders are followed, but none is searched twice.

    Raises:
      OSError: a folder that cannot be opened.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    others: Counter[str] = Counter()
    searched: set[str] = set()
    for place, subfolders, _ in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in searched:
            subfolders.clear()
            continue
        searched.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        here, skipped = find_clouds(Path(place))
        found += here
        others += skipped
    return sorted(found, key=str), others


def read_h5(
    path: Path, classes: int, remedy: str
) -> tuple[Float[np.ndarray, "n p 3"], Int[np.ndarray, " n"]]:
    """Clouds (`data` [n, P, C >= 3], further columns ignored) and labels (`label` [n] or [n, 1]).

    Raises:
      ValueError: missing, truncated, wrong keys, shapes or labels, NaN or infinite; one line with the
        file's name, ending in `remedy`.
    """
    label = read_h5_labels(path, classes, remedy)
    data = _dataset(path, "data", remedy)
    if data.dtype.kind not in "fiu":
        raise ValueError(f"{path}: 'data' holds {data.dtype}, not numbers. {remedy}")
    if data.ndim != 3 or data.shape[2] < 3:
        raise ValueError(
            f"{path}: 'data' has shape {data.shape}, not (objects, points, 3 or more columns). {remedy}"
        )
    if looks_transposed(data.shape[1:]):
        raise ValueError(
            f"{path}: 'data' has shape {data.shape}, which looks transposed: save data.transpose(0, 2, 1). "
            f"{remedy}"
        )
    if len(data) != len(label):
        raise ValueError(f"{path}: {len(data)} clouds in 'data', {len(label)} labels in 'label'. {remedy}")
    points = _coordinates(data)
    for index, cloud in enumerate(points):
        problem = _problem(cloud)
        if problem:
            raise ValueError(f"{path}: object {index}: {problem}. {remedy}")
    return points, label


def read_h5_labels(path: Path, classes: int, remedy: str) -> Int[np.ndarray, " n"]:
    """The labels alone, without the time to read the clouds; raises what `read_h5` does for them."""
    label = _dataset(path, "label", remedy)
    if label.dtype.kind not in "iu":
        raise ValueError(f"{path}: 'label' holds {label.dtype}, not integers. {remedy}")
    if label.ndim != 1 and label.shape[1:] != (1,):
        raise ValueError(f"{path}: 'label' has shape {label.shape}, not (objects,). {remedy}")
    label = label.reshape(-1)
    wrong = label[(label < 0) | (label >= classes)]
    if len(wrong):
        raise ValueError(f"{path}: label {wrong[0]} is outside 0..{classes - 1}. {remedy}")
    return label.astype(np.int32)


def _dataset(path: Path, name: str, remedy: str) -> np.ndarray:
    try:
        check_file(path)
        with h5py.File(path, "r") as file:
            return read_dataset(file, name)
    except Unreadable as error:
        raise ValueError(f"{path}: {printable(str(error))}. {remedy}") from None
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file. {remedy}") from None
    except Exception as error:  # as `_content`
        raise ValueError(f"{path}: {_damaged(error, 'an h5')}. {remedy}") from error


def _damaged(error: Exception, kind: str) -> str:
    """Whatever a library says of damaged bytes, in one line."""
    said = printable((str(error).splitlines() or [""])[0].strip(" .:")[:120])
    return f"truncated or not {kind} file ({type(error).__name__}: {said})"


def looks_transposed(shape: tuple[int, ...]) -> bool:
    """Whether (rows, columns) is coordinates by points: few rows, and more columns than points have."""
    return 0 < shape[0] <= 6 and shape[1] > 16


def _coordinates(array: np.ndarray) -> np.ndarray:
    small = array.dtype in (np.float32, np.float16)
    return np.ascontiguousarray(array[..., :3], np.float32 if small else np.float64)


def _problem(points: Float[np.ndarray, "p 3"]) -> str:
    """What is wrong with the coordinates, or nothing."""
    if len(points) == 0:
        return "holds no points"
    with np.errstate(over="ignore"):  # beyond float32 is as good as infinite
        points = points.astype(np.float32)
    bad = (~np.isfinite(points)).any(axis=1).sum()
    kind = "NaN" if np.isnan(points).any() else "infinite"
    return f"{bad} of {len(points)} points {'is' if bad == 1 else 'are'} {kind}" if bad else ""
