import numpy as np
import scipy.optimize

from smdsb_jax.combine.pcgrad import pcgrad
from smdsb_jax.combine.upgrad import upgrad
from tests.combine.merging import G_1, G_2, merge, merge_each, random_rows


def test_the_reference_pair_is_half_of_pcgrad():
    merged = merge(upgrad(scale="mean"), G_1, G_2)
    np.testing.assert_allclose(merged.encoder, (0.25, 0.75), atol=1e-6)
    np.testing.assert_allclose(merged.weights, (1, 0.75), rtol=1e-6)
    draws = random_rows(2)
    np.testing.assert_allclose(merge_each(upgrad(), draws), merge_each(pcgrad(), draws), atol=1e-5)


def test_three_projections_are_nearest_in_the_cone():
    draws = random_rows(3)
    for rows, found in zip(draws, merge_each(upgrad(scale="mean"), draws), strict=True):
        projections = [g + rows.T @ scipy.optimize.nnls(rows.T, -g)[0] for g in rows]
        np.testing.assert_allclose(found, np.mean(projections, axis=0), atol=1e-3)
