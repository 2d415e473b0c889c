import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference needs PyTorch: pip install torch")

import torch

from reference.deform import cell_centers, cell_of, deform_released, deform_vectorised
from smdsb_jax.geometry.regions import cell_center, deform_voxel
from smdsb_jax.geometry.regions import cell_of as cell_of_library

BOTH = pytest.mark.parametrize("deform", [deform_released, deform_vectorised])


def cloud(batch=6, points=200):
    return np.random.default_rng(0).normal(scale=0.4, size=(batch, points, 3)).astype(np.float32)


def test_cells_are_those_of_the_library():
    points = cloud()
    np.testing.assert_array_equal(cell_of(torch.tensor(points)), jax.vmap(cell_of_library)(points))
    np.testing.assert_allclose(cell_centers(torch.zeros(1)), jax.vmap(cell_center)(jnp.arange(27)), atol=1e-6)


@BOTH
def test_the_same_order_gives_the_librarys_mask_and_leaves_the_other_points(deform):
    points = cloud()

    @jax.jit
    def mask_of_library(order):
        return jax.vmap(lambda p: deform_voxel(order, jax.random.key(0), p, 20, 0.001)[1])(points)

    for seed in range(5):
        order = np.random.default_rng(seed).permutation(27)
        deformed, mask = deform(torch.tensor(points), 20, 0.001, order)
        np.testing.assert_array_equal(mask, mask_of_library(order))
        np.testing.assert_array_equal(deformed[~mask], points[~np.asarray(mask)])
        assert mask.any(1).all()


@BOTH
def test_replaced_points_are_noise_about_the_center_of_the_cell(deform):
    np.random.seed(0)  # noqa: NPY002 the release draws from numpy's global state
    torch.manual_seed(0)
    points = torch.full((2, 20_000, 3), 0.1)  # all in the cell in the middle
    deformed, mask = deform(points, 40, 0.001)
    assert mask.all()
    np.testing.assert_allclose(deformed.mean((0, 1)), np.zeros(3), atol=1e-3)
    np.testing.assert_allclose(deformed.var((0, 1)), np.full(3, 0.001), rtol=0.03)


@BOTH
def test_a_cloud_without_a_full_cell_stays_as_it_is(deform):
    points = torch.tensor(cloud())
    deformed, mask = deform(points, 201, 0.001)
    assert not mask.any() and torch.equal(deformed, points)
