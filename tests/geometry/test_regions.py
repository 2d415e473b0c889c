import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from smdsb_jax.geometry.regions import (
    cell_center,
    cell_of,
    deform_ball,
    deform_voxel,
    deform_voxels,
    nearest_points,
    permute_cells,
    project,
    squeeze_region,
)

squeeze = jax.jit(squeeze_region, static_argnums=2)  # op by op, most of the time would be compilation
CENTERS = {
    0: (-2 / 3, -2 / 3, -2 / 3),
    1: (-2 / 3, -2 / 3, 0),
    3: (-2 / 3, 0, -2 / 3),
    9: (0, -2 / 3, -2 / 3),
}


@pytest.mark.parametrize(
    "point, cell",
    [((-0.9, -0.9, -0.9), 0), ((0, 0, 0), 13), ((0.9, 0.9, 0.9), 26), ((-0.9, 0, 0.9), 5), ((1.0, 0, 0), 22)],
)
def test_cells(point, cell):
    assert cell_of(jnp.array([point], jnp.float32))[0] == cell


@pytest.mark.parametrize("cell, center", [*CENTERS.items(), (13, (0, 0, 0)), (26, (2 / 3, 2 / 3, 2 / 3))])
def test_centers(cell, center):
    np.testing.assert_allclose(cell_center(jnp.array(cell)), center, atol=1e-6)


def clustered(cell, count, n, seed=0):
    """`count` points in one cell, the rest thinly spread over the others."""
    rng = np.random.default_rng(seed)
    inside = np.asarray(cell_center(jnp.array(cell))) + rng.uniform(-0.2, 0.2, (count, 3))
    others = [c for c in range(27) if c != cell]
    outside = [np.asarray(cell_center(jnp.array(others[i % 26]))) for i in range(n - count)]
    return jnp.asarray(np.concatenate([inside, np.reshape(outside, (-1, 3))]), jnp.float32)


def test_the_region_becomes_noise_about_its_center_and_the_rest_stays():
    points = clustered(4, 600, 1000)
    deformed, mask = deform_voxel(jnp.arange(27), jax.random.key(0), points, 40, 0.001)
    assert mask.sum() == 600 and (cell_of(points)[mask] == 4).all()
    chex.assert_trees_all_equal(deformed[~mask], points[~mask])
    inside = np.asarray(deformed[mask])
    np.testing.assert_allclose(inside.mean(axis=0), cell_center(jnp.array(4)), atol=3 * 0.0316 / np.sqrt(600))
    np.testing.assert_allclose(inside.std(axis=0), 0.0316, rtol=0.1)


def test_the_first_cell_of_the_order_that_qualifies_is_taken_in_every_cloud():
    points = jnp.concatenate([clustered(20, 50, 60), clustered(7, 50, 60)])
    for order, cell in ((jnp.arange(27), 7), (jnp.arange(27)[::-1], 20)):
        for seed in range(2):
            _, mask = deform_voxel(order, jax.random.key(seed), points, 40, 0.001)
            assert (cell_of(points)[mask] == cell).all() and mask.sum() >= 40


def test_several_clouds_share_the_order_of_cells_and_have_noise_of_their_own():
    both = jnp.concatenate([clustered(20, 50, 60), clustered(7, 50, 60)])
    clouds, cell = jnp.stack([both] * 3), np.asarray(cell_of(both))
    of_key = jax.jit(lambda key: deform_voxels(key, clouds, 45 / 120, 0.001))
    taken = set()
    for seed in range(6):
        deformed, mask = map(np.asarray, of_key(jax.random.key(seed)))
        (region,) = np.unique(cell[mask[0]])
        np.testing.assert_array_equal(mask, np.tile(cell == region, (3, 1)))
        assert (deformed[0][mask[0]] != deformed[1][mask[0]]).all()
        taken.add(int(region))
    assert taken == {7, 20}


def test_no_cell_qualifies():
    points = jnp.concatenate([clustered(c, 37, 37) for c in range(27)])
    deformed, mask = deform_voxel(jnp.arange(27), jax.random.key(0), points, 40, 0.001)
    assert not mask.any()
    chex.assert_trees_all_equal(deformed, points)


def test_ball_collapses_what_lies_within_the_radius_inclusive():
    line = jnp.zeros((100, 3)).at[:, 0].set(jnp.arange(100) * 0.01)
    deformed, mask = deform_ball(0.25, jax.random.key(0), line, 20, 0.0)
    center = deformed[mask][0]
    inside = np.abs(np.asarray(line[:, 0]) - float(center[0])) <= 0.25 + 1e-6
    assert (np.asarray(mask) == inside).all() and (deformed[mask] == center[None]).all()
    assert not deform_ball(0.05, jax.random.key(0), line, 20, 0.0)[1].any()  # 11 points: too few


def test_balls_are_about_every_point_that_has_enough_around_it_alike():
    cluster = jnp.asarray(0.05 * np.random.default_rng(0).normal(size=(30, 3)), jnp.float32)
    points = jnp.concatenate([cluster, 10 + jnp.arange(18.0).reshape(6, 3)])  # as many as wanted, and 6 alone
    keys = jax.random.split(jax.random.key(0), 3000)
    deformed, mask = jax.jit(jax.vmap(lambda key: deform_ball(0.5, key, points, 20, 0.0)))(keys)
    center = np.take_along_axis(np.asarray(deformed), np.argmax(mask, axis=1)[:, None, None], axis=1)
    share = np.mean(np.all(center == points[None], axis=2), axis=0)
    np.testing.assert_allclose(share[:30], 1 / 30, atol=0.0131)  # 4 standard deviations
    assert (share[30:] == 0).all()


def swapped(a, b):
    return jnp.arange(27).at[jnp.array([a, b])].set(jnp.array([b, a]))


@pytest.mark.parametrize(
    "cells, point, moved",
    [
        ((0, 26), (-0.9, -0.9, -0.9), (0.43333333, 0.43333333, 0.43333333)),
        ((0, 26), (0.9, 0.9, 0.9), (-0.43333333, -0.43333333, -0.43333333)),
        ((0, 26), (0, 0, 0), (0, 0, 0)),
        ((0, 13), (-0.9, -0.9, -0.9), (-0.23333333, -0.23333333, -0.23333333)),
        ((0, 13), (0, 0, 0), (-2 / 3, -2 / 3, -2 / 3)),
        ((0, 3), (-0.9, -0.9, -0.9), (-0.9, -0.23333333, -0.9)),
    ],
)
def test_cells_that_change_places(cells, point, moved):
    points, cell = permute_cells(swapped(*cells), jnp.array([point], jnp.float32))
    np.testing.assert_allclose(points[0], moved, atol=1e-6)
    assert cell[0] == cell_of(jnp.array([point], jnp.float32))[0]


def test_a_permutation_of_cells_moves_each_as_it_is():
    points = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (600, 3)), jnp.float32)
    same, cell = permute_cells(jnp.arange(27), points)
    np.testing.assert_array_equal(same, points)  # to the bit
    permutation = jax.random.permutation(jax.random.key(0), 27)
    moved, before = permute_cells(permutation, points)
    after = cell_of(moved)
    np.testing.assert_array_equal(before, cell)
    np.testing.assert_array_equal(after, permutation[before])
    centers = jax.vmap(cell_center)
    np.testing.assert_allclose(moved - centers(after), points - centers(before), atol=1e-6)
    back, _ = permute_cells(jnp.argsort(permutation), moved)
    np.testing.assert_allclose(back, points, atol=1e-6)
    beyond, _ = permute_cells(swapped(26, 0), jnp.array([[1.2, 0.9, 0.9]]))
    np.testing.assert_allclose(beyond, [[1.2 - 4 / 3, 0.9 - 4 / 3, 0.9 - 4 / 3]], atol=1e-6)


@pytest.mark.parametrize(
    "normal, flat",
    [((0, 0, 1), (1, 2, 0)), ((2**-0.5, 2**-0.5, 0), (-0.5, 0.5, 3)), ((1, 0, 0), (0, 2, 3))],
)
def test_a_projection_by_hand(normal, flat):
    points = jnp.array([[1.0, 2, 3], [-1, -2, -3], [9, 9, 9]])  # the mean of the first two is 0
    found = project(points, jnp.arange(3) < 2, jnp.array(normal, jnp.float32))
    np.testing.assert_allclose(found[:2], [flat, np.negative(flat)], atol=1e-6)
    np.testing.assert_array_equal(found[2], points[2])


def test_a_squeezed_region_is_flat_and_the_rest_stays():
    points = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    flat, mask = map(np.asarray, squeeze(jax.random.key(0), points, 40))
    assert mask.sum() == 40 and np.any(flat != points, axis=1)[mask].all()
    np.testing.assert_array_equal(flat[~mask], points[~mask])
    inside, before = (np.asarray(cloud, np.float64)[mask] for cloud in (flat, points))
    np.testing.assert_allclose(inside.mean(axis=0), before.mean(axis=0), atol=1e-6)
    spread, axes = np.linalg.eigh(np.cov(inside.T))
    assert spread[0] < 1e-10 and spread[1] > 1e-2
    moved = before - inside
    np.testing.assert_allclose(moved, (moved @ axes[:, :1]) * axes[:, 0], atol=1e-5)  # along the normal
    assert (pdist(inside) <= pdist(before) + 1e-6).all()
    again = jax.jit(project)(flat, mask, axes[:, 0].astype(np.float32))
    np.testing.assert_allclose(again, flat, atol=1e-6)
    centers = [set(KDTree(points).query(point, 40)[1]) for point in points]
    assert set(np.flatnonzero(mask)) in centers


def test_the_nearest_points_are_as_many_as_asked_also_among_duplicates():
    points = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    found = jax.jit(nearest_points, static_argnums=2)(points, points[3], 9)
    np.testing.assert_array_equal(np.flatnonzero(found), np.sort(KDTree(points).query(points[3], 9)[1]))
    for same in (np.repeat(points[:2], 150, axis=0), 0 * points):
        flat, mask = squeeze(jax.random.key(1), same, 40)
        assert mask.sum() == 40 and np.isfinite(flat).all()


def test_all_regions_and_all_normals_are_as_likely():
    points = jnp.asarray(np.random.default_rng(2).normal(size=(10, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 4000)
    squeeze = jax.jit(
        lambda count: jax.vmap(lambda key: squeeze_region(key, points, count))(keys), static_argnums=0
    )
    np.testing.assert_allclose(np.mean(squeeze(1)[1], axis=0), 0.1, atol=0.02)  # 4 standard deviations
    moved = np.asarray(squeeze(10)[0][:, 0] - points[:1])
    size = np.abs(moved) / np.linalg.norm(moved, axis=1, keepdims=True)
    for coordinate in size.T:  # of a uniform direction, uniform on [0, 1]
        np.testing.assert_allclose(np.histogram(coordinate, 5, (0, 1))[0] / 4000, 0.2, atol=0.026)
