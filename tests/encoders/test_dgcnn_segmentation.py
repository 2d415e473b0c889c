import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders.dgcnn_segmentation import DGCNNSegmentation
from smdsb_jax.layers.heads import PointwiseHead
from smdsb_jax.layers.tnet import EdgeTNet
from smdsb_jax.network import Network, passes_of, predict
from smdsb_jax.pretext.defrec import Prepared, defrec_radius
from smdsb_jax.tasks.classification import classification
from tests.random_variables import random_variables

CLOUDS = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
POINTS = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
NARROW = {"k": 4, "layers": (8, 8), "embedding": 32}


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, inputs):
    return jax.eval_shape(functools.partial(module.init_with_output, train=False), jax.random.key(0), inputs)


def test_numbers_of_parameters_are_the_published_ones():
    features, variables = shapes(DGCNNSegmentation(), CLOUDS)
    sizes = {name: size(part) for name, part in variables["params"].items()}
    edges = {"edge1": 448 + 4_160, "edge2": 8_256 + 4_160, "edge3": 8_256}
    assert sizes == {"tnet": 798_089, **edges, "agg": 197_632}
    assert sum(sizes.values()) - 798_089 == 222_912
    assert set(variables) == {"params"}  # no statistics
    assert features.embedding.shape == (2, 1024)
    assert [f.shape[-1] for f in features.layers] == [64, 64, 64]
    heads = [size(shapes(PointwiseHead(n, use_bias=True), features)[1]["params"]) for n in (8, 3)]
    assert heads == [412_552, 411_907]
    assert sum(sizes.values()) + sum(heads) == 1_845_460
    _, head = shapes(DGCNNSegmentation().head(10, 0.5), features)
    assert size(head["params"]) == 660_234


def test_with_norms_the_t_net_is_that_of_dgcnn_and_no_other_layer_has_a_bias():
    _, variables = shapes(DGCNNSegmentation(edge_norm="batch", tnet_norm="batch"), CLOUDS)
    assert variables["params"].pop("tnet") == shapes(EdgeTNet(), CLOUDS)[1]["params"]
    outputs = 5 * 64 + 1024  # of all dense layers: scales and biases of norms instead of their biases
    assert size(variables["params"]) == 222_912 + outputs


def test_the_widths_of_a_narrow_network():
    features, variables = shapes(DGCNNSegmentation(**NARROW, input_tnet=False), CLOUDS)
    assert set(variables["params"]) == {"edge1", "edge2", "agg"} and features.embedding.shape == (2, 32)
    assert [f.shape for f in features.layers] == [(2, 32, 8)] * 2
    assert [set(variables["params"][name]) for name in ("edge1", "edge2")] == [
        {"dense1", "dense2"},
        {"dense1"},
    ]


@pytest.mark.parametrize("field", ["edge_norm", "tnet_norm"])
def test_impossible_options_are_refused(field):
    with pytest.raises(ValueError, match=rf"config\.encoder\.{field} = 'layer': one of 'none', 'batch'\."):
        DGCNNSegmentation(**{field: "layer"}).check(64)
    with pytest.raises(
        ValueError, match=r"config\.encoder\.k = 20 neighbors among config\.data\.points = 19"
    ):
        DGCNNSegmentation().check(19)


def test_features_of_points_alone_are_an_affine_function_of_them():
    encoder = DGCNNSegmentation(k=1, layers=(8, 8, 8), embedding=32, input_tnet=False)
    variables = random_variables(encoder, POINTS)
    f = jax.jit(lambda p: encoder.apply(variables, p, train=False).per_point)
    other = POINTS[:, ::-1] + 0.5
    np.testing.assert_allclose(f(POINTS) + f(other) - f(0 * POINTS), f(POINTS + other), rtol=1e-4, atol=1e-4)
    assert np.abs(f(POINTS) - f(other)).max() > 0.1 and np.abs(f(0 * POINTS)).max() > 0.1


def test_training_and_inference_are_the_same_program():
    encoder = DGCNNSegmentation(**NARROW)
    variables = shapes(encoder, CLOUDS)[1]
    train, infer = (
        jax.jit(functools.partial(encoder.apply, train=t)).lower(variables, CLOUDS).as_text()
        for t in (True, False)
    )
    assert train == infer


def test_norms_tell_training_from_inference():
    encoder = DGCNNSegmentation(**NARROW, input_tnet=False, edge_norm="batch")
    variables = random_variables(encoder, POINTS)
    step = jax.jit(functools.partial(encoder.apply, train=True, mutable=["batch_stats"]))
    features, updated = step(variables, POINTS)
    assert set(updated["batch_stats"]) == {"edge1", "pooled1", "edge2", "agg"}
    inferred = jax.jit(functools.partial(encoder.apply, train=False))(variables, POINTS)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(features.layers, inferred.layers, strict=True))


def test_each_pass_changes_the_statistics_of_its_own_head_alone():
    encoder, task = DGCNNSegmentation(**NARROW, input_tnet=False), defrec_radius(head_bias=True)
    network = Network(encoder, PointwiseHead(8, use_bias=True), classification())
    features, of_encoder = shapes(encoder, CLOUDS)
    parts = {"encoder": of_encoder, "head": shapes(network.head, features)[1]}
    parts["pretext"] = jax.eval_shape(lambda f: task.init(jax.random.key(0), f, {})[0], features)
    variables = {
        kind: {
            name: jax.tree.map(lambda s: jnp.full(s.shape, 0.1), part.get(kind, {}))
            for name, part in parts.items()
        }
        for kind in ("params", "batch_stats")
    }
    points = jnp.asarray(POINTS)
    prepared = Prepared(points, points, jnp.ones(points.shape[:2], bool))

    @jax.jit
    def passes(key):
        of_task = task.loss(passes_of(network), variables, (), prepared, key).variables
        return predict(network, variables, points, key, train=True)[2], of_task

    for found, own in zip(passes(jax.random.key(0)), ("head", "pretext"), strict=True):
        for part in parts:
            same = [
                np.array_equal(*pair)
                for pair in zip(
                    *(jax.tree.leaves(v["batch_stats"][part]) for v in (found, variables)), strict=True
                )
            ]
            assert len(same) == (0 if part == "encoder" else 6) and (
                not any(same) if part == own else all(same)
            )
