import sys

import numpy as np
import pytest

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.obj import read_obj

VERTICES = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]]
LINES = "v 0 0 0\nv 1 0 0\nv 1.0 1e0 0\nv 0 1 .5\n"


def written(tmp_path, text):
    path = tmp_path / "a.obj"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"{LINES}f 1 2 3\nf 1 3 4\n",
        f"{LINES}f -4 -3 -2\nf -4 -2 -1",
        f"# by hand\n\n{LINES}vt 0 0\nvn 0 0 1\ns off\nf 1/1/1 2/1/1 3/1/1\nf 1//1 3//1 4//1 # last\n",
        f"{LINES}vt 0 0\nf 1/1 2/1 3/1\nf\t1 \\\n 3 4\n".replace("\n", "\r\n"),
        LINES.replace("\n", " 0.5 0.5 0.5\n") + "f 1 2 3\nf 1 3 4\n",  # colors
        LINES.replace("v ", "  v\t ").replace("\n", " 1.0\n") + "f 1 2 3\nf 1 3 4\n",  # weights
    ],
)
def test_vertices_and_faces(tmp_path, text):
    mesh = read_obj(written(tmp_path, text))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    assert mesh.vertices.dtype == np.float64


def test_polygons_of_several_objects_are_one_mesh(tmp_path):
    second = LINES.replace("v 0 ", "v 5 ")
    text = f"o one\ng a\n{LINES}f -4 -3 -2 -1\no two\nusemtl b\n{second}f 5 6 7\nf -4 -2 -1\n"
    mesh = read_obj(written(tmp_path, text))
    assert mesh.vertices.shape == (8, 3) and mesh.vertices[4, 0] == 5
    assert sorted(map(sorted, mesh.faces.tolist())) == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]


def test_without_faces_it_is_a_cloud(tmp_path):
    np.testing.assert_array_equal(read_obj(written(tmp_path, f"{LINES}p 1 2\nl 1 2\n")), VERTICES)


def test_files_that_it_names_are_not_opened(tmp_path):
    path = written(tmp_path, f"mtllib other.mtl\n{LINES}usemtl m\nf 1 2 3\n")
    (tmp_path / "other.mtl").write_text("newmtl m\nmap_Kd picture.png\n")
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
    read_obj(path)
    assert [str(name) for name in opened if "other" in str(name) or str(tmp_path) in str(name)] == [str(path)]


@pytest.mark.parametrize(
    "text, said",
    [
        ("solid\n", "holds no vertices"),
        (f"{LINES}v 1 2\n", "the line 'v 1 2' is not understood"),
        (f"{LINES}v 1 2 a\n", "the line 'v 1 2 a' is not understood"),
        (f"{LINES}f 1 2 b\n", "the line 'f 1 2 b' is not understood"),
        (f"{LINES}f 1 2 5\n", r"corner 4, outside vertices 0\.\.3"),
        (f"{LINES}f 1 2 -5\n", r"corner -1, outside vertices 0\.\.3"),
    ],
)
def test_what_is_none_is_refused(tmp_path, text, said):
    with pytest.raises(Unreadable, match=said):
        read_obj(written(tmp_path, text))
