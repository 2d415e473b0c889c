import numpy as np

from smdsb_jax.datasets.embedded.deform import box_half, deform_with_normals, deformation


def sphere(n, rng):
    points = rng.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_a_seed_fixes_the_map_and_another_changes_it():
    points = sphere(200, np.random.default_rng(0)) * [2, 1, 0.5] + 7
    first, again, other = (deformation(points, np.random.default_rng(s))(points) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05


def test_the_map_is_gentle():
    rng = np.random.default_rng(0)
    points = sphere(500, rng)
    for _ in range(20):
        size = np.ptp(deformation(points, rng)(points), axis=0)
        assert (size > 2 * 0.8 * 0.8).all() and (size < 2 * 1.2 * 1.25).all()


def test_normals_stay_normal_to_the_surface():
    rng = np.random.default_rng(3)
    points = sphere(400, rng)
    moved, normals = deform_with_normals(points, points, np.random.default_rng(5))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)
    # tangent steps on the sphere, mapped by the same deformation, are perpendicular to them
    deform = deformation(points, np.random.default_rng(5))
    np.testing.assert_array_equal(deform(points), moved)
    tangent = np.cross(points, rng.normal(size=(400, 3)))
    step = deform(points + 1e-5 * tangent) - deform(points - 1e-5 * tangent)
    cosine = (step * normals).sum(1) / np.linalg.norm(step, axis=1)
    assert np.abs(cosine).max() < 5e-3
    assert ((normals * points).sum(1) > 0.8).all()  # still pointing outward


def test_box_half():
    assert box_half(np.array([[0.0, 0, 0], [1, 4, 2]])) == 2
    assert box_half(np.zeros((3, 3))) > 0
