import numpy as np
import pytest

from smdsb_jax.combine.lbtw import lbtw
from tests.combine.merging import G_1, G_2, merge


@pytest.mark.parametrize(
    "alpha, normalize, expected",
    [(0.5, False, (0.5, 1)), (0.5, True, (0.66666667, 1.33333333)), (1.0, True, (0.4, 1.6)),
     (0.0, True, (1, 1))],
)  # fmt: skip
def test_weights_by_how_far_the_losses_have_fallen(alpha, normalize, expected):
    rule = lbtw(alpha=alpha, normalize=normalize)
    first = merge(rule, G_1, G_2)
    np.testing.assert_allclose(first.weights, (1, 1))
    merged = merge(rule, G_1, G_2, losses=[0.25, 1.0], state=first.state)
    np.testing.assert_allclose(merged.weights, expected, rtol=1e-6)
    np.testing.assert_array_equal(merged.head_weights, merged.weights)


@pytest.mark.parametrize("window, expected", [(2, (1, 1)), (0, (0.66666667, 1.33333333))])
def test_a_window_starts_anew(window, expected):
    rule = lbtw(window=window)
    state = merge(rule, G_1, G_2).state
    state = merge(rule, G_1, (0, 0), losses=[1.0, 0.0], state=state).state
    merged = merge(rule, G_1, G_2, losses=[0.25, 1.0], state=state)
    np.testing.assert_allclose(merged.weights, expected, rtol=1e-6)
