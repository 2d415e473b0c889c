import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.geometry.regions import (
    cell_center,
    cell_of,
    deform_ball,
    deform_voxel,
    deform_voxels,
    permute_cells,
)

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
