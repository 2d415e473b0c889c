import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders import DGCNN, PointNet
from smdsb_jax.network import Passes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.implicit import OUTPUTS, DistanceDecoder, Prepared, adaptive_distance, implicit
from smdsb_jax.state import Features


def view(points):
    return View(points, points, None, "target", jnp.zeros(()))


def uniform(seed, *shape):
    return jax.random.uniform(jax.random.key(seed), (*shape, 3), minval=-1, maxval=1)


def line():
    """32 points, 0.05 apart."""
    return jnp.zeros((32, 3)).at[:, 0].set(0.05 * (jnp.arange(32) - 16))


def turn():
    """A random rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    return jnp.asarray(q, jnp.float32)


def features(clouds, channels=1024):
    """Embeddings as a maximum over normalized values gives them: mean 2.4, as untrained encoders have."""
    drawn = np.random.default_rng(0).normal(size=(clouds, 64, channels)).max(axis=1)
    return Features(jnp.asarray(drawn, jnp.float32), ())


@pytest.mark.parametrize("encoder", [DGCNN(), PointNet()], ids=["dgcnn", "pointnet"])
def test_the_decoder_has_the_published_size(encoder):
    points = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
    key = jax.random.key(0)
    features, _ = jax.eval_shape(functools.partial(encoder.init_with_output, train=False), key, points)
    own, state = jax.eval_shape(lambda f: implicit().init(key, f, {}), features)
    assert sum(leaf.size for leaf in jax.tree.leaves(own["params"])) == 690_689 and state == ()
    assert own["batch_stats"] == {}


def test_targets_of_the_worked_example():
    queries = jnp.array([[0, 0.03, 0], [0, 0, 0.1], [0, 0, 0]])
    u = jax.jit(adaptive_distance, static_argnums=2)
    np.testing.assert_allclose(u(queries, line(), 0.5), [0, 0.0627796, 0], atol=1e-6)
    np.testing.assert_allclose(u(queries, line(), 0.0), [0.03, 0.1, 0], rtol=1e-6)


def test_targets_scale_turn_and_do_not_jump():
    points, queries = uniform(0, 100), uniform(1, 300)
    u = jax.jit(adaptive_distance)
    found = u(queries, points)
    assert (found >= 0).all() and (found == 0).any() and (found > 0).any()
    np.testing.assert_allclose(u(0.3 * queries, 0.3 * points), 0.3 * found, atol=1e-6)
    np.testing.assert_allclose(u(queries @ turn(), points[::-1] @ turn()), found, atol=1e-5)
    near = queries + 0.1 * uniform(2, 300)
    assert (jnp.abs(u(near, points) - found) <= jnp.linalg.norm(near - queries, axis=1) + 1e-6).all()


def test_targets_of_coincident_points_are_distances_and_carry_no_gradient():
    points, queries = jnp.zeros((1024, 3)), uniform(0, 20_000)
    value_and_gradient = jax.jit(jax.value_and_grad(lambda p: jnp.mean(adaptive_distance(queries, p))))
    mean, gradient = value_and_gradient(points)
    np.testing.assert_allclose(mean, 0.960592, atol=4 * 0.28 / np.sqrt(20_000))
    assert (gradient == 0).all()


def test_queries_fill_the_cube_anew_for_every_cloud_and_step():
    points = uniform(0, 2, 64)
    prepare = jax.jit(lambda key: implicit().prepare(view(points), key))
    first, again, other = (prepare(jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(first.queries, again.queries)
    np.testing.assert_array_equal(first.points, points)
    assert first.queries.shape == (2, 2048, 3) and first.distance.shape == (2, 2048)
    drawn = np.stack([first.queries[0], first.queries[1], other.queries[0]])
    assert drawn.min() >= -1 and drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(axis=1), 0, atol=0.04)  # 3 standard deviations
    np.testing.assert_allclose(drawn.std(axis=1), 0.5774, atol=0.02)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 3 * 2048
    expected = jax.jit(jax.vmap(adaptive_distance))(first.queries, points)
    np.testing.assert_allclose(first.distance, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("told", "max_distance", "expected"),
    [
        (lambda u: 0 * u, 0.0, lambda u: u.mean(axis=1)),
        (lambda u: u + 0.1, 0.0, lambda u: [0.1, 0.1]),
        (lambda u: 5 + 0 * u, 0.2, lambda u: (0.2 - np.minimum(u, 0.2)).mean(axis=1)),
        (lambda u: 5 + 0 * u, 0.01, lambda u: (u == 0).mean(axis=1) * 0.01),
    ],
    ids=["zero", "offset", "cut", "cut low"],
)
def test_the_loss_is_the_mean_over_queries_of_the_absolute_error(told, max_distance, expected, monkeypatch):
    task = implicit(queries=100, max_distance=max_distance)
    distance = np.where(np.arange(100) % 4 == 0, 0.0, np.linspace(0.02, 0.9, 100)) * np.array([[1.0], [2.0]])
    prepared = Prepared(uniform(0, 2, 30), uniform(1, 2, 100), jnp.asarray(distance, jnp.float32))
    module = sys.modules["smdsb_jax.pretext.implicit"]  # its function has the same name
    answer = told(prepared.distance)
    monkeypatch.setattr(module, "run", lambda decoder, variables, *_, **__: (answer, variables))
    passes = Passes(lambda variables, points, key, *, train: (points, variables), None)
    found = task.loss(passes, {}, (), prepared, jax.random.key(0)).per_sample["distance"]
    np.testing.assert_allclose(found, expected(distance), rtol=1e-5)


def test_the_decoder_equals_its_formula_on_queries_before_embedding():
    queries, of_clouds, rng = uniform(1, 2, 30), features(2, channels=5), np.random.default_rng(1)
    shapes = [("fc1", 8, 512), ("fc2", 512, 256), ("fc3", 256, 128), ("out", 128, 1)]
    p = {name: {"kernel": rng.normal(size=(n, m)) / np.sqrt(n)} for name, n, m in shapes}
    for name, _, m in shapes[:-1]:
        p[name]["bias"] = rng.normal(size=m)
    p["bias"] = np.float64(0.3)
    apply = jax.jit(lambda p: DistanceDecoder().apply({"params": p}, queries, of_clouds, train=True))
    single = jax.tree.map(np.float32, p)
    h = np.concatenate([queries, np.repeat(of_clouds.embedding[:, None], 30, axis=1)], axis=-1)
    for name, *_ in shapes[:-1]:
        h = np.maximum(h @ p[name]["kernel"] + p[name]["bias"], 0)
    expected = np.maximum(h @ p["out"]["kernel"] + p["bias"], 0)[..., 0]
    np.testing.assert_allclose(apply(single), expected, atol=1e-5)
    assert np.ptp(expected, axis=1).min() > 0
    single["fc1"]["kernel"][:3] = 0
    assert jnp.ptp(apply(single), axis=1).max() == 0


def test_the_output_is_alive_in_every_seed_as_it_would_not_be_without_its_bias():
    queries, of_clouds = uniform(1, 4, 30), features(4)
    decode = functools.partial(DistanceDecoder().init_with_output, train=False)
    told = jax.jit(lambda keys: jax.lax.map(lambda key: decode(key, queries, of_clouds)[0], keys))
    distances = np.asarray(told(jax.random.split(jax.random.key(0), 20)))
    assert 0.2 < distances.min() and distances.max() < 0.8
    dead = (distances <= 0.5).all(axis=(1, 2))  # without 0.5 a ReLU would give 0 everywhere
    assert 3 <= dead.sum() <= 17  # half of them are expected


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_starts_at_a_half_and_has_a_slope_there(output):
    shapes = jax.ShapeDtypeStruct((1, 1, 3), jnp.float32), Features(jnp.zeros((1, 2)), ())
    init = functools.partial(DistanceDecoder(output).lazy_init, train=False)
    bias = jax.jit(lambda key: init(key, *shapes)["params"]["bias"])(jax.random.key(0))
    value, slope = jax.value_and_grad(OUTPUTS[output][0])(bias)
    assert value == pytest.approx(0.5) and slope > 0.3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"queries": 0}, r"queries = 0: give at least 1"),
        ({"tolerance_factor": -0.1}, r"tolerance_factor = -0\.1: between"),
        ({"max_distance": float("nan")}, r"max_distance = nan: between"),
        ({"output": "rel"}, r"output = 'rel' is not known\. Did you mean 'relu'\?"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(wrong, words):
    with pytest.raises(ValueError, match=rf"config\.pretext\.{words}"):
        implicit(**wrong)
