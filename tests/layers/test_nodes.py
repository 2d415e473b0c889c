import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.neighbors import within_radius
from smdsb_jax.geometry.nodes import node_seeds
from smdsb_jax.layers.nodes import AdaptiveNodes, NodeAttention, node_locations
from tests.random_variables import random_variables

POINTS = np.random.default_rng(0).uniform(-0.4, 0.4, size=(2, 60, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(2, 60, 5)).astype(np.float32)
# other numbers of nodes than of members, which the release confuses
LAYER = AdaptiveNodes(nodes=7, members=4)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, *inputs):
    return jax.eval_shape(functools.partial(module.init, train=False), jax.random.key(0), *inputs)["params"]


def test_numbers_of_parameters_are_the_published_ones():
    clouds = [jax.ShapeDtypeStruct((2, 100, width), jnp.float32) for width in (64, 3)]
    params = shapes(AdaptiveNodes(), *clouds)
    assert size(params) == 8_768 - 4_288  # without the block that the release never uses
    assert params["offset"]["kernel"].shape == (64, 3) and set(params["offset"]) == {"kernel"}
    assert size(shapes(NodeAttention(), jax.ShapeDtypeStruct((2, 64 * 64), jnp.float32))) == 4_207_104


@jax.jit
def located(points, steering):
    seeds = node_seeds(points, 7)
    members = within_radius(points, points[seeds], 0.3, 4, "index")
    return seeds, members, node_locations(points, steering, seeds, members)


def test_nodes_move_by_the_mean_of_the_weighed_edges_at_most_by_the_radius():
    for scale in (0.0, 1.0, 100.0):
        steering = scale * X[0, :, :3]
        seeds, members, found = map(np.asarray, located(POINTS[0], steering))
        weight = np.tanh(steering[members] - steering[seeds][:, None])
        offset = (weight * (POINTS[0][members] - POINTS[0][seeds][:, None])).mean(axis=1)
        np.testing.assert_allclose(found, POINTS[0][seeds] + offset, atol=1e-6)
        assert np.abs(found - POINTS[0][seeds]).max() <= 0.3
        assert (found == POINTS[0][seeds]).all() == (scale == 0)


def test_the_layer_is_its_formula():
    variables = random_variables(LAYER, X, POINTS)
    wide, nodes = jax.jit(functools.partial(LAYER.apply, train=False))(variables, X, POINTS)
    params = jax.device_get(variables["params"])
    dense, norm = params["residual"]["dense"], params["residual"]["norm"]
    h = np.maximum(
        (X @ dense["kernel"] + dense["bias"] - 1) / np.sqrt(1 + 1e-5) * norm["scale"] + norm["bias"], 0
    )
    steering = X @ params["offset"]["kernel"]
    for i, points in enumerate(POINTS):
        _, _, places = map(np.asarray, located(points, steering[i]))
        closest = np.argsort(cdist(places, points), axis=1)[:, :4]
        np.testing.assert_allclose(nodes[i], h[i][closest].max(axis=1), rtol=1e-4, atol=1e-5)
        squared = cdist(points, places, "sqeuclidean")
        three = np.argsort(squared, axis=1)[:, :3]
        share = 1 / np.take_along_axis(squared, three, axis=1)
        back = np.sum((share / share.sum(1, keepdims=True))[:, :, None] * np.asarray(nodes[i])[three], axis=1)
        np.testing.assert_allclose(wide[i], np.concatenate([X[i], back], axis=1), rtol=1e-3, atol=1e-4)


def test_the_offset_learns_through_the_interpolation_alone():
    variables = random_variables(LAYER, X, POINTS)

    @jax.jit
    def gradients(params):
        clouds = jnp.asarray(X), jnp.asarray(POINTS)
        apply = lambda p: LAYER.apply({**variables, "params": p}, *clouds, train=False)  # noqa: E731
        (wide, nodes), pull_back = jax.vjp(apply, params)
        return [pull_back(given)[0] for given in ((wide, 0 * nodes), (0 * wide, nodes))]

    through_points, through_nodes = (
        np.abs(g["offset"]["kernel"]).max() for g in gradients(variables["params"])
    )
    assert through_points > 1e-3 and through_nodes == 0


def test_attention_is_its_formula():
    u = X[0]
    variables = random_variables(NodeAttention(), u)
    params = jax.device_get(variables["params"])
    h = np.maximum(u @ params["down"]["kernel"] + params["down"]["bias"], 0)
    a = 1 / (1 + np.exp(-(h @ params["up"]["kernel"] + params["up"]["bias"])))
    expected = (u * (1 + a) - 1) / np.sqrt(1 + 1e-5) * params["norm"]["scale"] + params["norm"]["bias"]
    found = jax.jit(functools.partial(NodeAttention().apply, train=False))(variables, u)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
