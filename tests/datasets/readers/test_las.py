import struct
import sys

import laspy
import numpy as np
import pytest

from smdsb_jax.datasets.read import read_clouds
from smdsb_jax.datasets.readers.base import MissingPackage, Unreadable
from smdsb_jax.datasets.readers.las import read_las

INTEGERS = np.array([[0, 0, 0], [123456, -7, 99], [-(2**31), 2**31 - 1, 5], [1, 2, 3]])
SCALE, OFFSET = (0.01, 0.001, 0.5), (450000.0, 5400000.0, -10.0)
EXPECTED = INTEGERS * SCALE + OFFSET


def las(integers=INTEGERS, count=None):
    """Bytes of a LAS 1.2 file of point format 0, by hand."""
    count = len(integers) if count is None else count
    start = (b"", 1, 2, b"", b"", 1, 2026, 227, 227, 0, 0, 20, count, count, 0, 0, 0, 0)  # version 1.2, …
    header = b"LASF" + struct.pack("<HHIHH8sBB32s32sHHHIIBHI5I", 0, 0, 0, 0, 0, *start)
    header += struct.pack("<12d", *SCALE, *OFFSET, *[0.0] * 6)
    assert len(header) == 227
    return header + b"".join(struct.pack("<iiiHBBbBH", *row, 0, 9, 2, 0, 0, 0) for row in integers.tolist())


def written(tmp_path, content, name="a.las"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def laz(tmp_path, integers=INTEGERS):
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.scales, header.offsets = SCALE, OFFSET
    scan = laspy.LasData(header)
    scan.X, scan.Y, scan.Z = integers.T
    scan.write(tmp_path / "a.laz")
    return tmp_path / "a.laz"


def test_coordinates_are_scaled(tmp_path):
    cloud = read_las(written(tmp_path, las()))
    np.testing.assert_array_equal(cloud, EXPECTED)
    assert cloud.dtype == np.float64


def test_compressed_coordinates_are_scaled(tmp_path):
    path = laz(tmp_path)
    assert b"laszip" in path.read_bytes()
    np.testing.assert_array_equal(read_las(path), EXPECTED)


def test_no_points(tmp_path):
    assert read_las(written(tmp_path, las(INTEGERS[:0]))).shape == (0, 3)


@pytest.mark.parametrize("count", [5, 10**8])
def test_more_points_than_there_are_is_refused(tmp_path, count):
    with pytest.raises(Unreadable, match=f"declares {count} points and holds fewer: truncated"):
        read_las(written(tmp_path, las(count=count)))
    with pytest.raises(Unreadable, match=r"declares shape \(4000000000,\), 75 GiB; 4 GiB are the most"):
        read_las(written(tmp_path, las(count=4 * 10**9)))


def test_counts_that_no_memory_holds_are_refused(tmp_path):
    content = bytearray(las())
    content[100:104] = struct.pack("<I", 2**32 - 1)
    with pytest.raises(Unreadable, match="declares 4294967295 records and holds fewer: truncated"):
        read_las(written(tmp_path, content))
    content = bytearray(laz(tmp_path).read_bytes())
    (points,) = struct.unpack_from("<I", content, 96)
    (table,) = struct.unpack_from("<q", content, points)
    content[table + 4 : table + 8] = struct.pack("<I", 2**32 - 1)
    with pytest.raises(Unreadable, match="declares 4294967295 chunks and holds fewer: truncated"):
        read_las(written(tmp_path, content))
    at_the_end = content[:points] + struct.pack("<q", -1) + content[points + 8 :] + struct.pack("<q", table)
    with pytest.raises(Unreadable, match="declares 4294967295 chunks and holds fewer: truncated"):
        read_las(written(tmp_path, at_the_end))


def test_each_truncation_is_an_error_and_nothing_is_logged(tmp_path, caplog):
    compressed = laz(tmp_path, np.random.default_rng(0).integers(0, 1000, (50, 3))).read_bytes()
    for content in (las(), compressed):
        for keep in range(1, len(content), 7):
            with pytest.raises(ValueError, match=r"a\.las: .*Export it again"):
                read_clouds(written(tmp_path, content[:keep]))
    assert not caplog.records


def test_without_a_package_it_says_what_to_install(tmp_path, monkeypatch):
    path = laz(tmp_path)
    said = r"^reading \.laz needs {}: pip install 'smdsb_jax\[scans\]' \(or pip install laspy\[lazrs\]\)$"
    for module in ("lazrs", "laspy"):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingPackage, match=said.format(module)):
            read_las(path)
