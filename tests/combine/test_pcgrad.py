import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine import Told
from smdsb_jax.combine.pcgrad import pcgrad


def merge(*gradients, key=0):
    trees = tuple(
        {"w": jnp.asarray(g[:2], jnp.float32), "v": jnp.asarray(g[2:], jnp.float32)} for g in gradients
    )
    names = tuple(map(str, range(len(trees))))
    told = Told(names, jnp.ones(len(trees)), jnp.ones(len(trees)), jnp.zeros(()))
    merged = pcgrad().update(jax.random.key(key), trees, told, ()).encoder
    return np.concatenate([merged["w"], merged["v"]])


def test_without_conflict_it_is_the_sum():
    np.testing.assert_allclose(merge([1, 2, 0], [1, 0, 3]), [2, 2, 3])


def test_two_tasks_in_conflict_follow_the_closed_form():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.normal(size=(2, 5))
        d = a @ b
        if d < 0:
            expected = (1 - d / (a @ a)) * a + (1 - d / (b @ b)) * b
            found = merge(a, b)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
            assert found @ a >= -1e-5 and found @ b >= -1e-5


def test_opposite_gradients_cancel():
    np.testing.assert_allclose(merge([1, 0, 0], [-3, 0, 0]), 0, atol=1e-6)


def test_three_tasks_project_one_after_the_other_in_some_order():
    g = np.array([[1.0, 0, 0.2], [-0.5, 1, 0], [-0.4, -0.9, 0.3]])

    def project(i, order):
        p = g[i].copy()
        for j in order:
            if j != i and p @ g[j] < 0:
                p -= (p @ g[j]) / (g[j] @ g[j]) * g[j]
        return p

    found = merge(*g, key=3)
    options = [
        [project(i, o) for o in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])]
        for i in range(3)
    ]
    sums = [a + b + c for a in options[0] for b in options[1] for c in options[2]]
    assert min(np.abs(found - s).max() for s in sums) == pytest.approx(0, abs=1e-5)
