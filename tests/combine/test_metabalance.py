import numpy as np
import pytest

from smdsb_jax.combine.metabalance import metabalance
from tests.combine.merging import G_1, G_2, merge


def test_two_steps_of_the_whole_gradients():
    rule = metabalance(scope="global")
    first = merge(rule, G_1, G_2)
    np.testing.assert_allclose(first.encoder, (0.20502525, 0.79497475), atol=1e-6)
    np.testing.assert_allclose(first.state["norms"], (0.1, 0.14142136), rtol=1e-5)
    second = merge(rule, (2, 0), (-1, 1), state=first.state)
    np.testing.assert_allclose(second.state["norms"], (0.29, 0.26870058), rtol=1e-5)
    np.testing.assert_allclose(second.encoder, (0.94451223, 1.05548777), atol=1e-6)
    np.testing.assert_allclose(second.weights, (1, 1.05548777), rtol=1e-5)
    absent = merge(rule, G_1, (0, 0), state=second.state)  # its mean stays, and the correction with it
    assert absent.state["norms"][1] == second.state["norms"][1]
    np.testing.assert_array_equal(absent.state["steps"], (3, 2))


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_no_balance_is_the_sum(scope):
    np.testing.assert_allclose(merge(metabalance(r=0.0, scope=scope), G_1, G_2).encoder, (0, 1), atol=1e-6)


def test_full_balance_of_all_or_of_each_tensor():
    rows = (3.0, 4.0), (1.0, 2.0)  # each number is a tensor
    whole = merge(metabalance(r=1.0, scope="global"), *rows).encoder
    np.testing.assert_allclose(whole, np.add(rows[0], 5 / 5**0.5 * np.array(rows[1])), rtol=1e-5)
    each = merge(metabalance(r=1.0), *rows)
    np.testing.assert_allclose(each.encoder, (6, 8), rtol=1e-5)
    np.testing.assert_allclose(each.weights, (1, 5 / 5**0.5), rtol=1e-5)


def test_a_tensor_that_a_task_does_not_reach_has_the_factor_1():
    np.testing.assert_allclose(merge(metabalance(), (1.0, 1.0), (2.0, 0.0)).encoder, (2.3, 1), rtol=1e-6)
    np.testing.assert_allclose(merge(metabalance(r=1.0), (0.0, 1.0), (2.0, 1.0)).encoder, (0, 2), rtol=1e-6)


@pytest.mark.parametrize("strategy, short, long", [("shrink", 1.0, 2.0), ("enlarge", 2.0, 4.0)])
def test_one_way_alone(strategy, short, long):
    rule = metabalance(r=1.0, scope="global", strategy=strategy)
    assert merge(rule, (2.0,), (1.0,)).encoder == pytest.approx([2 + short])
    assert merge(rule, (2.0,), (4.0,)).encoder == pytest.approx([2 + long])
