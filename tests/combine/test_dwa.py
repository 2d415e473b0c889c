import numpy as np

from smdsb_jax.combine.dwa import dwa
from tests.combine.merging import G_1, G_2, merge


def test_weights_follow_the_means_of_the_last_two_windows():
    rule, state, seen = dwa(window=2), None, []
    for losses in ([2.0, 1.0], [6.0, 3.0], [1.0, 1.0], [3.0, 3.0], [9.0, 9.0]):
        merged = merge(rule, G_1, G_2, losses=losses, state=state)
        state = merged.state
        seen.append(merged.weights)
    np.testing.assert_allclose(seen[:4], 1.0, rtol=1e-6)
    np.testing.assert_allclose(seen[4], (0.87564700, 1.12435300), rtol=1e-6)  # means 4 and 2, then 2 and 2
    np.testing.assert_allclose(merged.encoder, seen[4][0] * np.array(G_1) + seen[4][1] * np.array(G_2))
    np.testing.assert_array_equal(merged.head_weights, seen[4])


def test_steps_without_a_task_do_not_count():
    rule, state = dwa(window=2), None
    for row, losses in ((G_2, [2.0, 4.0]), ((0, 0), [2.0, 0.0]), ((0, 0), [2.0, 0.0]), ((0, 0), [2.0, 0.0])):
        state = merge(rule, G_1, row, losses=losses, state=state).state
    np.testing.assert_array_equal(state["last"], (2, 4))
    np.testing.assert_array_equal(state["before"], (2, 0))
    np.testing.assert_allclose(merge(rule, G_1, G_2, state=state).weights, 1.0)  # the second has no ratio yet
