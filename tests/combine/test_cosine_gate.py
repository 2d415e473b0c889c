import numpy as np
import pytest

from smdsb_jax.combine.cosine_gate import cosine_gate
from tests.combine.merging import G_1, G_2, merge


@pytest.mark.parametrize("form, expected", [("soft", (1.70710678, 0.70710678)), ("hard", (2, 1))])
def test_a_gradient_counts_as_far_as_it_agrees(form, expected):
    rule = cosine_gate(form=form)
    np.testing.assert_array_equal(merge(rule, G_1, G_2).encoder, G_1)
    np.testing.assert_allclose(merge(rule, (1, 0), (1, 1)).encoder, expected, rtol=1e-6)
    np.testing.assert_array_equal(merge(rule, (0, 0), G_2, (2, 0)).encoder, (1, 1))  # nothing to gate by
