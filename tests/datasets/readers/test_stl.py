import struct

import numpy as np
import pytest

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.stl import read_stl

TRIANGLES = np.array([[[0, 0, 0], [1, 0, 0], [0, 2.5, 0]], [[0, 0, 0], [1, 0, 0], [0, 0, -3]]])


def text_of(triangles, name="part"):
    lines = [f"solid {name}"]
    for triangle in triangles:
        lines += ["facet normal 0 0 1", "  outer loop"]
        lines += [f"    vertex {x:e} {y:e} {z:e}" for x, y, z in triangle]
        lines += ["  endloop", "endfacet"]
    return "\n".join([*lines, f"endsolid {name}", ""]).encode()


def binary_of(triangles, header=b"by hand"):
    rows = [struct.pack("<12fH", 0, 0, 1, *triangle.ravel(), 0) for triangle in triangles]
    return header.ljust(80) + struct.pack("<I", len(rows)) + b"".join(rows)


@pytest.mark.parametrize(
    "content",
    [
        text_of(TRIANGLES),
        text_of(TRIANGLES, "").upper().replace(b"\n", b"\r\n"),
        text_of(TRIANGLES[:1], "a") + text_of(TRIANGLES[1:], "b"),
        binary_of(TRIANGLES),
        binary_of(TRIANGLES, b"solid in name only"),
    ],
)
def test_triangles(tmp_path, content):
    path = tmp_path / "a.stl"
    path.write_bytes(content)
    mesh = read_stl(path)
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], TRIANGLES)


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"a text",
        text_of(TRIANGLES)[:-40],
        text_of([]),
        binary_of(TRIANGLES)[:-1],
        binary_of(TRIANGLES)[:50],
        binary_of([]),
    ],
)
def test_what_is_none_is_refused(tmp_path, content):
    (tmp_path / "a.stl").write_bytes(content)
    with pytest.raises(Unreadable, match="truncated or without triangles"):
        read_stl(tmp_path / "a.stl")


def test_a_word_among_the_numbers_is_an_error(tmp_path):
    (tmp_path / "a.stl").write_bytes(text_of(TRIANGLES).replace(b"2.5", b"abc"))
    with pytest.raises((ValueError, DeprecationWarning)):
        read_stl(tmp_path / "a.stl")


def test_a_normal_that_is_no_number_matters_to_no_one_and_nothing_is_logged(tmp_path, caplog):
    path = tmp_path / "a.stl"
    path.write_bytes(text_of(TRIANGLES).replace(b"normal 0", b"normal x"))
    np.testing.assert_array_equal(read_stl(path).vertices.reshape(-1, 3, 3), TRIANGLES)
    assert not caplog.records
