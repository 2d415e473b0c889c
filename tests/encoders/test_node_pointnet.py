import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders.node_pointnet import NodePointNet
from tests.random_variables import random_variables

CLOUDS = jax.ShapeDtypeStruct((2, 100, 3), jnp.float32)
POINTS = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
UNUSED = 4_288  # parameters of the release's generator that no pass uses


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, inputs):
    return jax.eval_shape(functools.partial(module.init_with_output, train=False), jax.random.key(0), inputs)


def test_numbers_of_parameters_are_the_published_ones():
    features, variables = shapes(NodePointNet(), CLOUDS)
    sizes = {name: size(part) for name, part in variables["params"].items()}
    assert (sizes["tnet1"], sizes["tnet2"], sizes["nodes"]) == (803_081, 1_857_344, 8_768 - UNUSED)
    assert sum(sizes.values()) == 2_826_825 - UNUSED
    assert [f.shape[-1] for f in features.layers] == [64, 64, 128]
    assert features.nodes.shape == (2, 64, 64) and features.embedding.shape == (2, 1024)
    _, head = shapes(NodePointNet().head(10, 0.5), features)
    assert size(head["params"]) == 10_250


def test_the_norm_after_the_maximum_centers_the_embedding_of_a_batch():
    encoder = NodePointNet(layers=(8, 8, 8), feature_tnet=False, embedding=32, nodes=5, members=4)
    variables = random_variables(encoder, POINTS)
    ones = {"scale": jnp.ones(32), "bias": jnp.zeros(32)}
    given = {**variables, "params": {**variables["params"], "norm": ones}}
    features, _ = jax.jit(functools.partial(encoder.apply, train=True, mutable=["batch_stats"]))(
        given, POINTS
    )
    np.testing.assert_allclose(features.embedding.sum(axis=0), 0, atol=1e-4)
    assert features.nodes.shape == (2, 5, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodes": 65}, r"config\.encoder\.nodes = 65: between 1 and 64"),
        ({"members": 0}, r"config\.encoder\.members = 0: between 1 and 64"),
        ({"radius": -0.1}, r"config\.encoder\.radius = -0\.1: between 0 and 2"),
        ({"layers": (64,)}, r"config\.encoder\.layers = \(64,\): two or more"),
        ({"order": "first"}, r"config\.encoder\.order = 'first': one of 'index', 'nearest'"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        NodePointNet(**options).check(64)


def test_tnet_layers_after_the_maximum_are_leaky():
    """As in the release; PointNet's are not."""
    encoder = NodePointNet(layers=(8, 8), embedding=32, feature_tnet=False, nodes=5, members=4)
    seen = []

    def record(call, args, kwargs, context):
        if context.module.path and context.module.path[0] == "tnet1":
            seen.append((context.module.path[-1], getattr(context.module, "negative_slope", None)))
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        shapes(encoder, CLOUDS)
    slopes = dict(seen)
    assert (slopes["fc1"], slopes["fc2"], slopes["conv1"], slopes["conv3"]) == (0.01, 0.01, 0.0, 0.0)
