import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from smdsb_jax.geometry.regions import least_points
from smdsb_jax.network import Passes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.defrec import Prepared, defrec, defrec_radius
from smdsb_jax.registry import options
from smdsb_jax.state import Features


def masks(task, points):
    """Which points of each cloud the task deforms, as its encoder pass sees them."""
    prepared = task.prepare(View(points, points, None, "target", jnp.zeros(())), jax.random.key(3))
    assert prepared.points is points
    return np.asarray(jnp.any(prepared.deformed != points, axis=-1))


def test_each_variant_has_the_least_count_of_its_release():
    assert [least_points(options(t)["min_share"], 1024) for t in (defrec, defrec_radius)] == [40, 20]
    assert least_points(0.0, 1024) == 1 and least_points(0.5, 5) == 3  # half up
    assert "radius" not in options(defrec) and options(defrec_radius)["radius"] == 0.5
    spread = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 500, 3)), jnp.float32)  # 19 a cell
    assert (
        not masks(defrec(min_share=40 / 500), spread).any()
        and masks(defrec(min_share=15 / 500), spread).any(axis=1).all()
    )
    few = spread.at[:, 9:].multiply(1e3)  # far from each other; of 500 points the least count is 10
    few = few.at[:, :9].set(0.01 * spread[:, :9])
    assert not masks(defrec_radius(), few).any()
    assert (masks(defrec_radius(min_share=9 / 500), few).sum(axis=1) == 9).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_share": -0.1},
        {"noise_variance": -1e-3},
        {"scale": -1.0},
        {"dropout": 1.0},
        {"scale": float("inf")},
    ],
    ids=str,
)
@pytest.mark.parametrize("task", [defrec, defrec_radius])
def test_impossible_options_are_refused(task, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"config\.pretext\.{name} = {value}: between"):
        task(**wrong)


@pytest.mark.parametrize("radius", [-0.1, 2.1, float("nan")])
def test_a_ball_has_a_radius_within_the_cloud(radius):
    with pytest.raises(ValueError, match=rf"config\.pretext\.radius = {radius}: between 0 and 2"):
        defrec_radius(radius=radius)


def test_a_ball_of_the_published_size_moves_and_nothing_else():
    points = np.random.default_rng(0).uniform(-1, 1, (4, 300, 3)).astype(np.float32)
    view = View(jnp.asarray(points), jnp.asarray(points), None, "target", jnp.zeros(()))
    task = defrec_radius(min_share=20 / 300, noise_variance=0.0)
    prepared = jax.device_get(jax.jit(lambda key: task.prepare(view, key))(jax.random.key(0)))
    for cloud, deformed, mask in zip(points, prepared.deformed, prepared.mask, strict=True):
        center = deformed[mask][0]
        tree = cKDTree(cloud)
        assert (deformed[mask] == center).all() and tree.query(center)[0] == 0  # a point of the cloud
        inside = tree.query_ball_point(center, 0.5)
        assert len(inside) >= 20 and sorted(inside) == np.flatnonzero(mask).tolist()
        np.testing.assert_array_equal(deformed[~mask], cloud[~mask])


def encode(variables, points, key, *, train):
    local = jnp.tanh(points @ variables["params"]["encoder"])
    return Features(jnp.max(local, axis=1), (local,)), variables


def with_head(task, points):
    """Variables of `encode` and of the task's head."""
    encoder = {"params": {"encoder": jax.random.normal(jax.random.key(0), (3, 16))}}
    features = jax.eval_shape(lambda p: encode(encoder, p, None, train=True)[0], points)
    own, _ = jax.eval_shape(lambda f: task.init(jax.random.key(0), f, {}), features)
    filled = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), own)
    return {kind: encoder.get(kind, {}) | {"pretext": filled[kind]} for kind in ("params", "batch_stats")}


def test_points_far_apart_stay_and_cost_nothing():
    axes = np.meshgrid(np.arange(5), np.arange(3), np.arange(2))
    apart = jnp.asarray(1.1 * np.stack(axes, axis=-1).reshape(1, 30, 3), jnp.float32)
    task = defrec_radius(min_share=20 / 30, head_bias=True)
    variables = with_head(task, apart)

    @jax.jit
    def losses(params, key):
        prepared = task.prepare(View(apart, apart, None, "target", jnp.zeros(())), key)
        found = task.loss(Passes(encode, None), variables | {"params": params}, (), prepared, key)
        return jnp.sum(found.per_sample["reconstruction"]), prepared

    grad = jax.value_and_grad(losses, has_aux=True)
    (loss, prepared), gradient = grad(variables["params"], jax.random.key(0))
    np.testing.assert_array_equal(prepared.deformed, apart)
    assert not prepared.mask.any() and loss == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))  # nor NaN


@pytest.mark.parametrize("task", [defrec, defrec_radius])
def test_the_loss_is_20_times_the_distance_within_the_region(monkeypatch, task):
    rng = np.random.default_rng(0)
    points, rebuilt = (rng.normal(size=(2, 30, 3)).astype(np.float32) for _ in range(2))
    mask = np.arange(30)[None, :] < np.array([12, 30])[:, None]
    module = sys.modules["smdsb_jax.pretext.defrec"]  # its function has the same name
    monkeypatch.setattr(module, "run", lambda head, variables, *_, **__: (jnp.asarray(rebuilt), variables))
    prepared = Prepared(*map(jnp.asarray, (points, points, mask)))
    variables = {"params": {"encoder": jnp.ones((3, 16))}}
    found = task().loss(Passes(encode, None), variables, (), prepared, jax.random.key(0)).per_sample
    for i, inside in enumerate(mask):
        clouds = points[i][inside], rebuilt[i][inside]
        there, back = (cKDTree(a).query(b)[0] ** 2 for a, b in (clouds, clouds[::-1]))
        # PointSegDA's weight of 0.05 makes this 1.0 of the distance
        assert 0.05 * found["reconstruction"][i] == pytest.approx(there.mean() + back.mean(), rel=1e-4)


@pytest.mark.parametrize("task", [defrec, defrec_radius])
def test_biases_make_the_head_the_one_released_for_pointsegda(task):
    wide = Features(jnp.zeros((2, 1024)), (jnp.zeros((2, 5, 192)),))
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(own["params"]))
        for own in (
            jax.eval_shape(lambda f, b=b: task(head_bias=b).init(jax.random.key(0), f, {})[0], wide)
            for b in (False, True)
        )
    ]
    assert counts == [411_264, 411_907]
