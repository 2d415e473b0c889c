import numpy as np
import pytest
from scipy.stats import chisquare

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.mesh import Mesh, mesh_or_cloud, sample

# a triangle of area 6 at z = 1, and one of area 0.015 at x = 9
TWO = Mesh(
    np.array([[0, 0, 1], [4, 0, 1], [0, 3, 1], [9, 0, 0], [9, 0.3, 0], [9, 0, 0.1]], np.float64),
    np.array([[0, 1, 2], [3, 4, 5]]),
)


def test_points_lie_in_their_triangles_and_share_them_by_area():
    points = sample(TWO, 20000, 0)
    large, small = points[points[:, 0] < 8], points[points[:, 0] > 8]
    np.testing.assert_allclose(large[:, 2], 1, atol=1e-12)
    np.testing.assert_allclose(small[:, 0], 9, atol=1e-12)
    assert (large[:, :2] >= 0).all() and (large[:, 0] / 4 + large[:, 1] / 3 <= 1 + 1e-12).all()
    assert (small[:, 1:] >= 0).all() and (small[:, 1] / 0.3 + small[:, 2] / 0.1 <= 1 + 1e-12).all()
    share = 0.015 / 6.015
    assert chisquare([len(large), len(small)], [20000 * (1 - share), 20000 * share]).pvalue > 0.01


def test_points_are_uniform_within_a_triangle():
    points = sample(TWO._replace(faces=TWO.faces[:1]), 20000, 1)
    u, v = points[:, 0] / 4, points[:, 1] / 3
    # four congruent parts: at each corner, and the middle
    counts = [(u > 0.5).sum(), (v > 0.5).sum(), (u + v < 0.5).sum()]
    assert chisquare([*counts, 20000 - sum(counts)]).pvalue > 0.01


def test_the_same_seed_draws_the_same_points_and_leaves_numpys_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = sample(TWO, 100, 3)
    sample(TWO, 50, 4)
    np.testing.assert_array_equal(sample(TWO, 100, 3), first)
    assert not np.array_equal(sample(TWO, 100, 4), first)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_faces_without_area_are_refused():
    with pytest.raises(Unreadable, match="its faces have no area"):
        sample(Mesh(TWO.vertices, np.array([[0, 0, 1], [2, 2, 2]])), 10, 0)


@pytest.mark.parametrize("corners", [[[0, 1, 2], [3, 4, 6]], [[0, 1, 2, -1]]])
def test_a_corner_that_is_no_vertex_is_refused(corners):
    with pytest.raises(Unreadable, match=r"a face has corner (6|-1), outside vertices 0\.\.5"):
        mesh_or_cloud(TWO.vertices, corners)


def test_without_polygons_the_vertices_are_a_cloud():
    assert mesh_or_cloud(TWO.vertices, []) is TWO.vertices


@pytest.mark.parametrize("together", [True, False])
def test_polygons_become_triangles_that_cover_them(together):
    angle = 2 * np.pi * np.arange(6) / 6
    vertices = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    pentagon, quad, triangle = [0, 1, 2, 3, 4], [0, 2, 3, 5], [1, 3, 5]
    area = {"pentagon": 5 / 6, "quad": 2 / 3, "triangle": 1 / 2}  # of the hexagon
    polygons = [pentagon, quad, triangle] if together else [pentagon, pentagon]
    mesh = mesh_or_cloud(vertices, polygons)
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    signed = np.cross(b - a, c - a)[:, 2] / 2
    expected = sum(area.values()) if together else 2 * area["pentagon"]
    assert (signed > 0).all()  # none folds back
    np.testing.assert_allclose(signed.sum() / (1.5 * np.sqrt(3)), expected)
