import struct

import numpy as np
import pytest

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.ply import read_ply

POINTS = np.array([[0, 0, 0], [1.5, 0, 0], [1.5, 2, 0.25], [0, 2, -3], [0.1, 7, 1e3]])
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def ply(form, elements, comment="comment by hand"):
    """Bytes of a PLY file: `elements` are (name, properties, rows of (letters of struct, values))."""
    header = ["ply", f"format {form} 1.0", comment]
    body = b""
    for name, properties, rows in elements:
        header += [f"element {name} {len(rows)}", *(f"property {each}" for each in properties)]
        for letters, values in rows:
            if form == "ascii":
                body += " ".join(repr(value) for value in values).encode() + b"\n"
            else:
                body += struct.pack(FORMATS[form] + letters, *values)
    return "\n".join([*header, "end_header", ""]).encode() + body


def vertices(kind="float", letter="f", points=POINTS):
    rows = [(3 * letter, [float(x) for x in point]) for point in points]
    return ("vertex", [f"{kind} {axis}" for axis in "xyz"], rows)


def faces(*polygons, name="vertex_indices", kind="int", letter="i"):
    rows = [(f"B{len(each)}{letter}", [len(each), *each]) for each in polygons]
    return ("face", [f"list uchar {kind} {name}"], rows)


def written(tmp_path, content):
    path = tmp_path / "a.ply"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "kind, letter", [("float", "f"), ("float32", "f"), ("double", "d"), ("float64", "d")]
)
def test_a_cloud_keeps_its_precision(tmp_path, form, kind, letter):
    cloud = read_ply(written(tmp_path, ply(form, [vertices(kind, letter)])))
    dtype = np.float32 if letter == "f" else np.float64
    np.testing.assert_array_equal(cloud, POINTS.astype(dtype))
    assert cloud.dtype == dtype


@pytest.mark.parametrize("form", FORMATS)
def test_coordinates_anywhere_among_further_properties_and_elements(tmp_path, form):
    names = ["uchar red", "double z", "float nx", "int y", "short label", "float32 x", "list uchar float w"]
    rows = [("BdfihfB2f", [200, 0.1 + i, 0.5, -i, 9, 0.25 * i, 2, 7.0, 8.0]) for i in range(4)]
    camera = ("camera", ["float f", "list uchar int k"], [("fB3i", [1.0, 3, 1, 2, 3]), ("fB1i", [1.0, 1, 2])])
    elements = [camera, ("vertex", names, rows), ("edge", ["int vertex1", "int vertex2"], [("2i", [0, 1])])]
    cloud = read_ply(written(tmp_path, ply(form, elements)))
    np.testing.assert_array_equal(cloud, [[0.25 * i, -i, 0.1 + i] for i in range(4)])
    ragged = [(f"BdfihfB{i}f", [200, 0.1 + i, 0.5, -i, 9, 0.25 * i, i, *[1.0] * i]) for i in range(4)]
    again = read_ply(written(tmp_path, ply(form, [("vertex", names, ragged)])))
    np.testing.assert_array_equal(again, cloud)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index"])
def test_triangles(tmp_path, form, name):
    polygons = faces([0, 1, 2], [0, 2, 3], name=name, kind="uint", letter="I")
    mesh = read_ply(written(tmp_path, ply(form, [vertices(), polygons])))
    np.testing.assert_array_equal(mesh.vertices, POINTS.astype(np.float32))
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("form", FORMATS)
def test_triangles_and_quads_together_and_properties_of_faces(tmp_path, form):
    kinds = ["uchar red", "list uchar int vertex_indices", "float quality"]
    rows = [("BB4if", [9, 4, 0, 1, 2, 3, 0.5]), ("BB3if", [9, 3, 0, 1, 4, 0.5])]
    for order in (rows, rows[::-1]):
        mesh = read_ply(written(tmp_path, ply(form, [vertices(), ("face", kinds, order)])))
        assert sorted(map(sorted, mesh.faces.tolist())) == [[0, 1, 2], [0, 1, 4], [0, 2, 3]]


@pytest.mark.parametrize("form", FORMATS)
def test_faces_that_are_none_leave_a_cloud(tmp_path, form):
    cloud = read_ply(written(tmp_path, ply(form, [vertices(), faces()])))
    assert isinstance(cloud, np.ndarray) and cloud.shape == (5, 3)


def test_a_header_with_carriage_returns_and_words_of_all_kinds(tmp_path):
    content = ply("binary_little_endian", [vertices()], "obj_info made\ncomment by")
    header, body = content.split(b"\nend_header\n")
    content = header.replace(b"\n", b"\r\n") + b"\r\nend_header\r\n" + body
    np.testing.assert_array_equal(read_ply(written(tmp_path, content)), POINTS.astype(np.float32))


def test_a_texture_that_it_names_is_not_opened(tmp_path):
    content = ply("ascii", [vertices(), faces([0, 1, 2])], f"comment TextureFile {tmp_path / 'pipe'}")
    (tmp_path / "pipe").mkdir()  # reading it would raise
    assert len(read_ply(written(tmp_path, content)).faces) == 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("elements", [[vertices()], [vertices(), faces([0, 1, 2], [0, 1, 2, 3])]])
def test_each_truncation_is_refused(tmp_path, form, elements):
    content = ply(form, elements)
    whole = len(content) - (0 if form != "ascii" else len(content.split()[-1]) + 1)
    for keep in range(1, whole):
        with pytest.raises(ValueError, match=r"truncated|its vertices have|b?'-?'"):  # behind a sign
            read_ply(written(tmp_path, content[:keep]))


@pytest.mark.parametrize(
    "content, said",
    [
        (b"OFF\n", "truncated or not a PLY file .*expected .ply"),
        (b"ply\nelement vertex 1\nend_header\n", "not a PLY file .*line 2: expected one of .format"),
        (b"ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "declares -1 rows of element vertex"),
        (
            b"ply\nformat ascii 1.0\nproperty float x\nend_header\n",
            "not a PLY file .*line 3: expected one of",
        ),
        (b"ply\nformat magic 1.0\nend_header\n", "not a PLY file .*format 'magic'"),
        (
            b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n",
            "its vertices have nothing, not x, y and z",
        ),
        (ply("ascii", [("vertex", ["float x", "float y"], [("2f", [1, 2])])]), "its vertices have x, y, not"),
        (
            ply("ascii", [vertices(), faces([0, 1, 2], name="corners")]),
            "its faces have corners, not vertex_ind",
        ),
        (ply("ascii", [vertices(), faces([0, 1, 5])]), r"corner 5, outside vertices 0\.\.4"),
        (
            ply("ascii", [vertices()]).replace(b"x 5", b"x 5000000000000"),
            "declares 5000000000000 rows of elem",
        ),
        (
            ply("binary_big_endian", [vertices()]).replace(b"x 5", b"x 5000000000000"),
            "declares 5000000000000 rows of element vertex, and has .* bytes",
        ),
    ],
)
def test_what_is_none_is_refused(tmp_path, content, said):
    with pytest.raises(Unreadable, match=said):
        read_ply(written(tmp_path, content))
