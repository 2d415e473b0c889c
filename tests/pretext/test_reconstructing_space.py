import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders import DGCNN, PointNet
from smdsb_jax.network import Passes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.reconstructing_space import reconstructing_space


def view(points):
    return View(points, points, None, "target", jnp.zeros(()))


def clouds(*shape):
    return jax.random.uniform(jax.random.key(0), (*shape, 3), minval=-1, maxval=1)


@pytest.mark.parametrize(("encoder", "count"), [(DGCNN(), 496_256), (PointNet(), 447_104)])
def test_the_head_has_the_published_size(encoder, count):
    points = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
    key = jax.random.key(0)
    features, _ = jax.eval_shape(functools.partial(encoder.init_with_output, train=False), key, points)
    own, state = jax.eval_shape(lambda f: reconstructing_space().init(key, f, {}), features)
    assert sum(leaf.size for leaf in jax.tree.leaves(own["params"])) == count and state == ()


def test_every_cloud_has_places_of_its_own_or_all_the_same():
    points = jnp.repeat(clouds(1, 500), 3, axis=0)
    alike = {}
    for scope in ("sample", "batch"):
        task = reconstructing_space(shuffled_per=scope)
        prepared = task.prepare(view(points), jax.random.key(1))
        again = task.prepare(view(points), jax.random.key(1))
        np.testing.assert_array_equal(prepared.points, again.points)
        assert not np.array_equal(prepared.points, task.prepare(view(points), jax.random.key(2)).points)
        alike[scope] = np.array_equal(prepared.points[0], prepared.points[1])
        np.testing.assert_array_equal(prepared.cell[0], prepared.cell[1])
    assert alike == {"sample": False, "batch": True}


@pytest.mark.parametrize(("certainty", "expected"), [(0.0, np.log(27)), (50.0, 0.0)])
def test_the_loss_is_the_mean_over_points_of_the_cross_entropy(certainty, expected, monkeypatch):
    task = reconstructing_space()
    prepared = task.prepare(view(clouds(2, 40)), jax.random.key(1))
    logits = certainty * jax.nn.one_hot(prepared.cell, 27)
    module = sys.modules["smdsb_jax.pretext.reconstructing_space"]  # its function has the same name
    monkeypatch.setattr(module, "run", lambda head, variables, *_, **__: (logits, variables))
    passes = Passes(lambda variables, points, key, *, train: (points, variables), None)
    found = task.loss(passes, {}, (), prepared, jax.random.key(0))
    np.testing.assert_allclose(found.per_sample["jigsaw"], [expected] * 2, atol=1e-6)
    if certainty:
        np.testing.assert_array_equal(found.solved["jigsaw"], [1, 1])


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match=r"config\.pretext\.dropout = 1\.0: between"):
        reconstructing_space(dropout=1.0)
    with pytest.raises(
        ValueError, match=r"config\.pretext\.shuffled_per = 'cloud': one of 'sample', 'batch'"
    ):
        reconstructing_space(shuffled_per="cloud")
