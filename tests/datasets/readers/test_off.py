import numpy as np
import pytest

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.off import read_off

VERTICES = [[0, 0, 0], [1.5, 0, 0], [1.5, 2, 0], [0, 2, -3e-1]]
LINES = "0 0 0\n1.5 0 0\n1.5 2 0\n0 2 -3e-1\n"


def written(tmp_path, text):
    path = tmp_path / "a.off"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"OFF\n4 2 0\n{LINES}3 0 1 2\n3 0 2 3\n",
        f"OFF4 2 0\n{LINES}3 0 1 2\n3 0 2 3\n",  # as some files of ModelNet40
        f"OFF 4 2\n{LINES}3 0 1 2\n3 0 2 3",
        f"# by hand\nOFF # keyword\n\n4 2 5 # counts\n\n{LINES}\n3 0 1 2 255 0 0\n3 0 2 3 0.1 0.2 0.3\n",
        f"\ufeffOFF\n4 2 0\n{LINES}3 0 1 2\n3 0 2 3\n".replace("\n", "\r\n"),
        "COFF\n4 2 0\n"
        + LINES.replace("\n", " 255 0 0 255\n")
        + "3 0 1 2\n3 0 2 3\n",
        "NOFF\n4 2 0\n" + LINES.replace("\n", " 0 0 1\n") + "3 0 1 2\n3 0 2 3\n",
    ],
)  # fmt: skip
def test_vertices_and_faces(tmp_path, text):
    mesh = read_off(written(tmp_path, text))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3]])
    assert mesh.vertices.dtype == np.float64


def test_quads_become_triangles(tmp_path):
    mesh = read_off(written(tmp_path, f"OFF\n4 2 0\n{LINES}4 0 1 2 3\n3 0 1 2\n"))
    assert sorted(map(sorted, mesh.faces.tolist())) == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]


def test_without_faces_it_is_a_cloud(tmp_path):
    np.testing.assert_array_equal(read_off(written(tmp_path, f"OFF\n4 0 0\n{LINES}")), VERTICES)


@pytest.mark.parametrize(
    "text, said",
    [
        ("ply\n", "does not begin with OFF and the numbers of vertices and faces"),
        ("OFF BINARY\n\0\0\0\4", "does not begin with OFF"),
        ("OFF\n", "does not begin with OFF"),
        ("OFF\n0 0 0\n", "holds no vertices"),
        (f"OFF\n4 2 0\n{LINES}3 0 1 2\n", "declares 4 vertices and 2 faces, and 5 lines follow: truncated"),
        (f"OFF\n1000000000000 0 0\n{LINES}", "and 4 lines follow: truncated"),
        (f"OFF\n4 1 0\n{LINES}3 0 1\n", "the face '3 0 1' has not the 3 corners that it declares"),
        (f"OFF\n4 1 0\n{LINES}3 0 1 4\n", r"corner 4, outside vertices 0\.\.3"),
    ],
)
def test_what_is_none_is_refused(tmp_path, text, said):
    with pytest.raises(Unreadable, match=said):
        read_off(written(tmp_path, text))


def test_a_word_among_the_numbers_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="x0"):
        read_off(written(tmp_path, f"OFF\n4 0 0\n{LINES}".replace("1.5", "x0")))
