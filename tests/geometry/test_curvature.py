import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.curvature import eigen_3x3, normals, normals_and_curvature

of_one = jax.jit(normals_and_curvature, static_argnums=1)


def by_numpy(points, k=32):
    """The plain formula in float64: normal, curvature, and how well the spectrum separates the normal."""
    rows = points[np.argsort(cdist(points, points), axis=1)[:, :k]]
    x = rows - rows.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", x, x) / (k - 1))
    values = np.abs(values)
    ordered = np.sort(values, axis=1)
    smallest = vectors[np.arange(len(points)), :, values.argmin(axis=1)]
    return smallest, ordered[:, 0] / values.sum(axis=1), (ordered[:, 1] - ordered[:, 0]) / ordered[:, 2]


def ball(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 3))


def sphere(n):
    points = ball(n, seed=1)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "points",
    [ball(300), sphere(300), sphere(300) * [1, 0.3, 0.02], 1e-12 * ball(300), 1e12 * sphere(300)],
    ids=["volume", "sphere", "thin", "tiny", "huge"],
)
def test_equals_numpy_in_double_precision(points):
    points = points.astype(np.float32).astype(np.float64)
    normal, curvature = (np.asarray(a, np.float64) for a in of_one(points.astype(np.float32), 32))
    expected_normal, expected, gap = by_numpy(points)
    np.testing.assert_allclose(curvature, expected, atol=1e-6)
    sine = np.linalg.norm(np.cross(normal, expected_normal), axis=1)  # up to sign
    assert (sine * gap).max() < 2e-6
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-6)
    assert curvature.min() >= 0 and curvature.max() <= 1 / 3


def test_in_float64_nothing_is_lost():
    points = ball(100)
    with jax.enable_x64(True):
        curvature = of_one(points, 32)[1]
    np.testing.assert_allclose(curvature, by_numpy(points)[1], rtol=1e-12)


def test_the_other_number_of_neighbors():
    points = ball(100)
    np.testing.assert_allclose(of_one(points.astype(np.float32), 8)[1], by_numpy(points, 8)[1], atol=1e-6)


def test_a_plane_has_no_curvature_and_one_normal():
    points = ball(200).astype(np.float32)
    points[:, 2] = 0.25
    normal, curvature = of_one(points, 32)
    assert (curvature == 0).all()
    np.testing.assert_array_equal(np.abs(normal), np.tile([0, 0, 1], (200, 1)))
    u, v = np.array([1, 2, 2]) / 3, np.array([2, 1, -2]) / 3  # a tilted one, its normal (2, -2, 1) / 3
    normal, curvature = of_one((points[:, :1] * u + points[:, 1:2] * v).astype(np.float32), 32)
    np.testing.assert_allclose(curvature, 0, atol=2e-7)
    np.testing.assert_allclose(np.abs(normal @ np.array([2, -2, 1]) / 3), 1, atol=1e-6)


def test_normals_of_a_sphere_are_radial():
    points = sphere(2000).astype(np.float32)
    normal, _ = of_one(points, 32)
    assert np.median(np.abs(np.sum(normal * points, axis=1))) > 0.999


def test_all_directions_alike_give_a_third():
    octahedron = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
    np.testing.assert_allclose(of_one(octahedron, 6)[1], 1 / 3, rtol=1e-6)


@pytest.mark.parametrize(
    "points",
    [np.ones((40, 3)), np.linspace(-1, 1, 40)[:, None] * [[0.6, 0.8, 0.3]], np.repeat(ball(4), 10, axis=0)],
    ids=["one place", "line", "duplicates"],
)
def test_points_without_a_surface_have_finite_values_and_no_gradient(points):
    points = points.astype(np.float32)

    def total(points):
        normal, curvature = normals_and_curvature(points, 10)
        return jnp.sum(normal) + jnp.sum(curvature), (normal, curvature)

    gradient, (normal, curvature) = jax.jit(jax.grad(total, has_aux=True))(points)
    assert (gradient == 0).all()
    np.testing.assert_allclose(curvature, 0, atol=2e-7)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-6)


def test_normals_are_those_of_the_curvature_and_of_a_plane():
    points = sphere(300).astype(np.float32)
    of_cloud = jax.jit(functools.partial(normals, neighbors=20))
    np.testing.assert_array_equal(of_cloud(points), of_one(points, 20)[0])
    points[:, 2] = 0.3 * points[:, 0]
    cosine = np.abs(of_cloud(points) @ np.array([-0.3, 0, 1]) / np.sqrt(1.09))
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_without_a_plane_the_normal_is_zero():
    direction = ball(8, seed=2)[:, None, None]
    places = [np.full((40, 3), 0.3), np.repeat(ball(3), [15, 15, 10], axis=0)]  # of two places at most
    places += list(0.5 + direction[:, 0] * np.linspace(-0.2, 0.2, 40)[:, None])  # lines beside the origin
    clouds = np.stack(places).astype(np.float32)

    def total(clouds):
        found = jax.vmap(functools.partial(normals, neighbors=20))(clouds)
        return jnp.sum(found), found

    of_clouds = jax.jit(jax.grad(total, has_aux=True))
    gradient, found = of_clouds(clouds)
    assert (found == 0).all() and (gradient == 0).all()
    clouds[2, 3] += [0.01, 0.02, -0.01]  # beside the line: those that it is near to have a plane
    near = (np.argsort(cdist(clouds[2], clouds[2]), axis=1)[:, :20] == 3).any(axis=1)
    np.testing.assert_array_equal(np.abs(of_clouds(clouds)[1][2]).max(axis=1) > 0, near)


def test_eigenvectors_are_orthonormal_and_diagonalize_also_indefinite_matrices():
    a = np.random.default_rng(0).normal(size=(500, 3, 3))
    a = (a + a.transpose(0, 2, 1)).astype(np.float32)
    values, vectors = jax.jit(eigen_3x3)(a.transpose(1, 2, 0))
    v = np.asarray(vectors).transpose(2, 0, 1)
    np.testing.assert_allclose(v.transpose(0, 2, 1) @ v, np.tile(np.eye(3), (500, 1, 1)), atol=2e-6)
    np.testing.assert_allclose(a @ v, v * np.asarray(values).T[:, None], atol=1e-5)
    np.testing.assert_allclose(np.sort(values, axis=0).T, np.linalg.eigvalsh(a), atol=5e-6)


def test_a_batch_equals_its_clouds():
    batch = np.stack([ball(50), sphere(50)]).astype(np.float32)
    found = jax.jit(jax.vmap(functools.partial(normals_and_curvature, neighbors=16)))(batch)
    for i, points in enumerate(batch):
        np.testing.assert_allclose(found[1][i], by_numpy(points.astype(np.float64), 16)[1], atol=1e-6)


@pytest.mark.parametrize("neighbors", [1, 9])
def test_impossible_neighbors_are_refused(neighbors):
    with pytest.raises(ValueError, match=rf"neighbors = {neighbors} of 8 points.*raise data.points"):
        normals_and_curvature(jnp.zeros((8, 3)), neighbors)


@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_accelerators_get_the_batched_kernel(platform):
    kernel = jax.jit(jax.vmap(functools.partial(normals_and_curvature, neighbors=4)))
    text = kernel.trace(jnp.ones((2, 8, 3))).lower(lowering_platforms=(platform,)).as_text(debug_info=True)
    assert ("curvature_of_neighborhoods/batched" in text) == (platform != "cpu")
