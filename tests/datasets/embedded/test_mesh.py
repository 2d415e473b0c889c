import numpy as np
import pytest

from smdsb_jax.datasets.embedded import mesh
from tests.datasets.embedded.furniture import write_library


@pytest.fixture
def library(tmp_path):
    return mesh.open_library(write_library(tmp_path), "Boxes")


def box(low, high):
    """Twelve triangles."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    index = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return corners[np.array(index)] * (np.array(high) - low) + low


def area(corners):
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def test_a_model_has_its_catalogue_size_and_stands_on_the_floor(library):
    corners = mesh.triangles(library, "lib/table/table.obj").reshape(-1, 3)
    np.testing.assert_allclose(corners.min(0), [-0.6, -0.4, 0], atol=1e-12)
    np.testing.assert_allclose(corners.max(0), [0.6, 0.4, 0.7], atol=1e-12)
    assert mesh.elevation(library, "lib/table/table.obj") == 0
    assert mesh.elevation(library, "lib/shelf/shelf.obj") == 1.5


def test_quads_become_fans_and_transparent_faces_vanish(library):
    corners = mesh.triangles(library, "lib/table/table.obj")
    assert corners.shape == (10, 3, 3)  # five of the six faces
    # without the pane at x = 0.6
    np.testing.assert_allclose(area(corners).sum(), 2 * (1.2 * 0.7 + 1.2 * 0.8) + 0.8 * 0.7)
    assert not (corners[:, :, 0] == corners[:, :, 0].max()).all(1).any()


def test_the_catalogue_turns_a_model(library):
    # its rotation takes x to -z (in y-up axes), so the missing pane faces +y (back)
    corners = mesh.triangles(library, "lib/shelf/shelf.obj")
    assert not np.isclose(corners[:, :, 1], 0.1).all(1).any()
    assert np.isclose(corners[:, :, 1], -0.1).all(1).any()


def test_a_missing_library_says_where_it_is_found(tmp_path):
    with pytest.raises(ValueError, match=r"Boxes\.sh3f: no such file\. .*usr/share/sweethome3d/furniture"):
        mesh.open_library(tmp_path, "Boxes")


def test_surface_samples_are_uniform_by_area_with_unit_normals():
    corners = box([0, 0, 0], [1, 2, 4])
    points, triangle = mesh.sample_surface(corners, 40_000, np.random.default_rng(0))
    normals = mesh.unit_normals(corners)[triangle]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    axis = np.abs(normals).argmax(1)
    share = np.bincount(axis) / len(axis)
    np.testing.assert_allclose(share, np.array([8, 4, 2]) / 14, atol=0.01)
    on_face = np.take_along_axis(points, axis[:, None], 1)[:, 0]
    assert np.isin(np.round(on_face, 9), [0, 1, 2, 4]).all()
    np.testing.assert_allclose(points.mean(0), [0.5, 1, 2], atol=0.03)


def test_edge_samples_lie_on_edges_uniform_by_length():
    triangle = np.array([[[0, 0, 0], [3, 0, 0], [0, 4, 0]]], float)
    points = mesh.sample_edges(triangle, 12_000, np.random.default_rng(0))
    bottom, left = points[:, 1] == 0, points[:, 0] == 0
    slope = np.isclose(points[:, 0] / 3 + points[:, 1] / 4, 1)
    assert (bottom | left | slope).all()
    np.testing.assert_allclose(
        [bottom.mean(), left.mean(), slope.mean()], [3 / 12, 4 / 12, 5 / 12], atol=0.015
    )


def test_outer_points_leave_out_what_lies_inside():
    rng = np.random.default_rng(0)
    outer, _ = mesh.sample_surface(box([-1, -1, -1], [1, 1, 1]), 150_000, rng)
    inner, _ = mesh.sample_surface(box([-0.4, -0.4, -0.4], [0.4, 0.4, 0.4]), 2_000, rng)
    seen = mesh.outer_points(np.concatenate([outer, inner]))
    assert seen[:150_000].mean() > 0.95 and seen[150_000:].mean() < 0.05


def test_farthest_points_by_hand():
    points = np.array([0.0, 1, 2, 3, 4, 10])[:, None] * [1, 0, 0]
    for seed in range(5):
        chosen = mesh.farthest_points(points, 6, np.random.default_rng(seed)).tolist()
        assert sorted(chosen) == list(range(6))
        if chosen[0] == 0:
            assert chosen[:3] == [0, 5, 4]
        else:
            assert chosen[1] == (0 if chosen[0] == 5 else 5)
