import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from smdsb_jax.encoders import DGCNN, PointNet
from smdsb_jax.network import Passes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.glrv import glrv
from smdsb_jax.state import Features

SCALES = np.array([0.5, 0.707107, 1, 1.414214, 2], np.float32)
BATCH, POINTS = 4, 64
MODULE = sys.modules["smdsb_jax.pretext.glrv"]  # its function has the same name


def clouds(batch=BATCH, points=POINTS):
    return jax.random.uniform(jax.random.key(0), (batch, points, 3), minval=-1, maxval=1)


@functools.cache
def preparing(**options):
    task = glrv(**options)
    return jax.jit(lambda p, key: task.prepare(View(p, p, None, "target", jnp.zeros(())), key))


def prepared(points, seed=1, **options):
    return preparing(**options)(points, jax.random.key(seed))


@pytest.mark.parametrize(("encoder", "rebuilding"), [(DGCNN(), 493_184), (PointNet(), 444_032)])
def test_the_heads_have_the_sizes_of_the_outline(encoder, rebuilding):
    points = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
    key = jax.random.key(0)
    features, _ = jax.eval_shape(functools.partial(encoder.init_with_output, train=False), key, points)
    own, state = jax.eval_shape(lambda f: glrv().init(key, f, {}), features)
    count = {name: sum(leaf.size for leaf in jax.tree.leaves(head)) for name, head in own["params"].items()}
    assert count == {"scale": 264_197, "projection": rebuilding} and state == ()
    assert own["batch_stats"].keys() == count.keys()


def test_a_scaled_cloud_is_the_cloud_times_its_factor():
    points = clouds(batch=20)
    found, label = prepared(points).scaled
    assert set(label.tolist()) == set(range(5))
    for cloud, scaled, k in zip(np.asarray(points), np.asarray(found), label, strict=True):
        np.testing.assert_allclose(pdist(scaled), SCALES[k] * pdist(cloud), rtol=1e-5)
        np.testing.assert_allclose(scaled.mean(axis=0), SCALES[k] * cloud.mean(axis=0), atol=1e-6)
        assert k != 2 or (scaled == cloud).all()  # to the bit


def test_all_scales_are_as_frequent_and_jitter_stays_in_its_range():
    points = jnp.ones((10_000, 1, 3))
    found, label = prepared(points, scale_jitter=0.1, projection_weight=0.0).scaled
    np.testing.assert_allclose(np.bincount(label), [2000] * 5, atol=150)
    jitter = np.asarray(found[:, 0, 0]) / SCALES[np.asarray(label)]
    np.testing.assert_allclose(np.histogram(jitter, 4, (0.9, 1.1))[0] / 10_000, 0.25, atol=0.02)
    own = prepared(points, scale_values=(1.0, 3.0), projection_weight=0.0).scaled
    assert set(np.unique(own.points)) == {1, 3}


def test_a_region_of_its_share_is_flat_and_the_rest_stays():
    points = np.asarray(clouds())
    for options, count in (({}, 8), ({"region_share": 1.0, "scale_weight": 0.0}, POINTS)):
        same, flat, mask = map(np.asarray, prepared(points, **options).squeezed)
        np.testing.assert_array_equal(mask.sum(axis=1), [count] * BATCH)
        np.testing.assert_array_equal(same, points)
        moved = np.any(flat != points, axis=-1)
        assert not moved[~mask].any() and moved[mask].mean() > 0.9
    normals = np.linalg.svd(flat - points)[2][:, 0]
    assert np.abs(normals[0] @ normals[1:].T).max() < 0.999  # of every cloud its own


def test_draws_are_those_of_the_key():
    one, same, other = (prepared(clouds(), seed) for seed in (1, 1, 2))
    for a, b, c in zip(*map(jax.tree.leaves, (one, same, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == c.shape
    assert (one.squeezed.mask != other.squeezed.mask).any()
    assert (one.scaled.label != other.scaled.label).any()


def losses_of(task, ready, monkeypatch, **outputs):
    """Of heads that say the given outputs, and what the encoder saw and in which order."""
    seen = []

    def encode(variables, points, key, *, train):
        seen.append((points, jax.random.key_data(key).tolist()))
        return Features(points[:, 0], ()), variables

    def say(head, variables, name, features, *, train, key):
        seen.append((name, jax.random.key_data(key).tolist()))
        return outputs[name], variables

    monkeypatch.setattr(MODULE, "run_own", say)
    return task.loss(Passes(encode, None), {}, (), ready, jax.random.key(0)), seen


def test_uniform_logits_cost_the_logarithm_of_five_and_true_ones_nothing(monkeypatch):
    task, ready = glrv(projection_weight=0.0), prepared(clouds(), projection_weight=0.0)
    assert ready.squeezed is None and task.names == ("scale",)
    for certainty, expected in ((0.0, 0.2 * 1.609438), (50.0, 0.0)):
        logits = certainty * jax.nn.one_hot(ready.scaled.label, 5)
        found, _ = losses_of(task, ready, monkeypatch, scale=logits)
        np.testing.assert_allclose(found.per_sample["scale"], [expected] * BATCH, rtol=1e-6)
    np.testing.assert_array_equal(found.solved["scale"], np.ones(BATCH))


@pytest.mark.parametrize(("distance", "squeezed", "swapped"), [("chamfer", 8, 0), ("pointwise", 4, 16)])
def test_the_worked_region_in_both_distances(monkeypatch, distance, squeezed, swapped):
    task = glrv(scale_weight=0.0, distance=distance)
    points = jnp.array([[[0.0, 0, 1], [0, 0, -1], [5, 5, 5]]])
    mask = jnp.array([[True, True, False]])
    flat = points.at[:, :2].set(0)
    ready = MODULE.Prepared(None, MODULE.Squeezed(points, flat, mask))
    for rebuilt, expected in ((flat, squeezed), (points, 0), (points[:, jnp.array([1, 0, 2])], swapped)):
        found, _ = losses_of(task, ready, monkeypatch, projection=rebuilt)
        np.testing.assert_allclose(found.per_sample["projection"], [expected], rtol=1e-6)
    assert task.names == ("projection",) and found.solved == {}


def test_each_task_has_a_pass_of_its_own_the_scale_first(monkeypatch):
    task, ready = glrv(), prepared(clouds())
    outputs = {"scale": jnp.zeros((BATCH, 5)), "projection": clouds()}
    found, seen = losses_of(task, ready, monkeypatch, **outputs)
    assert tuple(found.per_sample) == task.names == ("scale", "projection")
    np.testing.assert_array_equal(seen[0][0], ready.scaled.points)
    np.testing.assert_array_equal(seen[2][0], ready.squeezed.flat)
    assert (seen[1][0], seen[3][0]) == ("scale", "projection")
    assert len({tuple(key) for _, key in seen}) == 4


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale_weight": -0.1}, "scale_weight = -0.1: between"),
        ({"projection_weight": float("inf")}, "projection_weight = inf: between"),
        (
            {"scale_weight": 0.0, "projection_weight": 0.0},
            "scale_weight = config.pretext.projection_weight = 0",
        ),
        ({"scale_values": (1.0,)}, r"scale_values = \(1.0,\): two or more"),
        ({"scale_values": (1.0, 2.0, 1.0)}, "scale_values = .* no two alike"),
        ({"scale_values": (0.0, 1.0)}, "scale_values = .* above 0"),
        ({"scale_jitter": 1.0}, "scale_jitter = 1.0: between"),
        ({"region_share": 1.5}, "region_share = 1.5: between"),
        ({"distance": "hausdorff"}, "distance = 'hausdorff': one of 'chamfer', 'pointwise'"),
        ({"dropout": 1.0}, "dropout = 1.0: between"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any], words):
    with pytest.raises(ValueError, match=rf"config\.pretext\.{words}"):
        glrv(**wrong)
