import struct
import sys

import numpy as np
import pytest

from smdsb_jax.datasets.read import read_clouds
from smdsb_jax.datasets.readers.base import MissingPackage, Unreadable
from smdsb_jax.datasets.readers.pcd import read_pcd

POINTS = np.array([[0.5, -1, 2], [1e3, 0.1, 3], [7, 7.25, -1e-3], [0, 0, 0], [1, 2, 3]])
DATA = ("ascii", "binary", "binary_compressed")
TYPES = {"f": "F", "d": "F", "B": "U", "I": "U", "i": "I", "h": "I"}  # by letters of struct


def lzf(content):
    """What LZF calls literal runs: 32 bytes, and before them their number less one."""
    runs = [content[start : start + 32] for start in range(0, len(content), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def pcd(data, fields, letters, columns, *, points=None, counts=None):
    """Bytes of a PCD file by hand, of columns that have a letter of struct each."""
    counts = counts or [1] * len(fields)
    count = len(columns[0]) if points is None else points
    sizes = [struct.calcsize(letter) for letter in letters]
    header = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {' '.join(fields)}",
        f"SIZE {' '.join(map(str, sizes))}",
        f"TYPE {' '.join(TYPES[letter] for letter in letters)}",
        f"COUNT {' '.join(map(str, counts))}",
        f"WIDTH {count}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {count}",
        f"DATA {data}",
    ]
    many = [letter if n == 1 else f"{n}{letter}" for letter, n in zip(letters, counts, strict=True)]
    rows = [
        [value for column in columns for value in np.atleast_1d(column[row])]
        for row in range(len(columns[0]))
    ]
    if data == "ascii":
        body = "\n".join(" ".join(f"{value:.12g}" for value in row) for row in rows).encode() + b"\n"
    elif data == "binary":
        body = b"".join(struct.pack("<" + "".join(many), *row) for row in rows)
    else:
        body = b"".join(
            struct.pack(f"<{len(c)}{letter}", *c) for letter, c in zip(letters, columns, strict=True)
        )
        body = struct.pack("<II", len(lzf(body)), len(body)) + lzf(body)
    return "\n".join([*header, ""]).encode() + body


def written(tmp_path, content):
    path = tmp_path / "a.pcd"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("letter, dtype", [("f", np.float32), ("d", np.float64)])
def test_coordinates_in_all_encodings(tmp_path, data, letter, dtype):
    cloud = read_pcd(written(tmp_path, pcd(data, "xyz", 3 * letter, POINTS.T.tolist())))
    np.testing.assert_array_equal(cloud, POINTS.astype(dtype))
    assert cloud.dtype == dtype


@pytest.mark.parametrize("data", DATA)
def test_coordinates_among_further_fields(tmp_path, data):
    z, y, x = POINTS.T[::-1].tolist()
    fields, columns = ["rgb", "z", "label", "y", "x"], [[1, 2, 3, 4, 5], z, [9] * 5, y, x]
    cloud = read_pcd(written(tmp_path, pcd(data, fields, "Ifhfd", columns)))
    np.testing.assert_array_equal(cloud, POINTS.astype(np.float32) if data != "ascii" else cloud)
    np.testing.assert_allclose(cloud, POINTS, rtol=1e-6)


@pytest.mark.parametrize("data", ["ascii", "binary"])
def test_a_field_of_several_values_and_one_without_a_name(tmp_path, data):
    fields, columns = ["histogram", "x", "_", "y", "z"], [[[1, 2]] * 5, POINTS[:, 0], [0] * 5, *POINTS.T[1:]]
    content = pcd(data, fields, "ffBff", columns, counts=[2, 1, 1, 1, 1])
    np.testing.assert_array_equal(read_pcd(written(tmp_path, content)), POINTS.astype(np.float32))


def test_one_point(tmp_path):
    content = pcd("ascii", "xyz", "fff", POINTS[:1].T)
    np.testing.assert_array_equal(read_pcd(written(tmp_path, content)), POINTS[:1].astype(np.float32))


@pytest.mark.parametrize("data", DATA)
def test_each_truncation_is_an_error(tmp_path, data):
    content = pcd(data, "xyz", "fff", POINTS.T)
    for keep in range(1, content.rindex(b" ") if data == "ascii" else len(content), 3):
        with pytest.raises(ValueError, match=r"a\.pcd: .*Export it again"):
            read_clouds(written(tmp_path, content[:keep]))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("points", [6, 10**12])
def test_more_points_than_there_are_is_refused(tmp_path, data, points):
    with pytest.raises(ValueError, match="declares 6 points and holds 5|truncated|size|broadcast"):
        read_pcd(written(tmp_path, pcd(data, "xyz", "fff", POINTS.T, points=points)))


def test_what_is_none_is_refused(tmp_path):
    with pytest.raises(Unreadable, match="its fields are x, y, w, not x, y and z"):
        read_pcd(written(tmp_path, pcd("binary", "xyw", "fff", POINTS.T)))
    with pytest.raises(Unreadable, match="has no header that ends with a line DATA"):
        read_pcd(written(tmp_path, b"ply\n"))
    with pytest.raises(
        Unreadable, match=r"declares COUNT 1 99999999999 1, more than a file of \d+ bytes holds"
    ):
        read_pcd(
            written(
                tmp_path, pcd("ascii", "xyz", "fff", POINTS.T).replace(b"COUNT 1 1 ", b"COUNT 1 99999999999 ")
            )
        )


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypcd4", None)
    with pytest.raises(
        MissingPackage, match=r"^reading \.pcd needs pypcd4: pip install 'smdsb_jax\[scans\]' \(or pip"
    ):
        read_pcd(tmp_path / "a.pcd")
