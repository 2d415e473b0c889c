import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders import DGCNN, DGCNNSegmentation, PointNet
from smdsb_jax.layers.heads import (
    ClassificationHead,
    CountHead,
    PointwiseHead,
    StructureHeads,
    UnitRowHead,
    unit_rows,
)
from smdsb_jax.state import Features
from tests.random_variables import random_variables


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def normalized(x, norm):
    """By running statistics of 1."""
    return (x - 1) / np.sqrt(1 + 1e-5) * norm["scale"] + norm["bias"]


def small_features():
    return Features(
        jnp.asarray(values(3, 64)), (jnp.asarray(values(3, 10, 4)), jnp.asarray(values(3, 10, 5)))
    )


@pytest.mark.parametrize(
    ("encoder", "inputs", "count"),
    [(DGCNN(), 1536, 493_184), (PointNet(), 1344, 444_032), (DGCNNSegmentation(), 1216, 411_264)],
)
def test_reconstruction_head_has_the_published_size(encoder, inputs, count):
    points = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
    key = jax.random.key(0)
    features, _ = jax.eval_shape(functools.partial(encoder.init_with_output, train=False), key, points)
    head = functools.partial(PointwiseHead().init_with_output, train=False)
    cloud, variables = jax.eval_shape(head, key, features)
    assert cloud.shape == (2, 32, 3)
    assert variables["params"]["kernel"].shape == (inputs, 256)
    assert size(variables["params"]) == count
    assert {path[-1].key for path, _ in jax.tree.leaves_with_path(variables["params"]["conv2"]["dense"])} == {
        "kernel"
    }


@pytest.mark.parametrize("use_bias", [False, True])
def test_reconstruction_equals_the_product_of_concatenated_features(use_bias):
    features, head = small_features(), PointwiseHead(use_bias=use_bias)
    variables = random_variables(head, features)

    p = jax.device_get(variables["params"])
    everywhere = np.repeat(features.embedding[:, None, :], 10, axis=1)
    h = np.concatenate([*features.layers, everywhere], axis=-1)  # local features first
    layers = [(p, p["norm"])] + [(p[i]["dense"], p[i]["norm"]) for i in ("conv2", "conv3")]
    assert all(("bias" in dense) == use_bias for dense in (*(dense for dense, _ in layers), p["out"]))
    for dense, norm in layers:
        h = np.maximum(normalized(h @ dense["kernel"] + dense.get("bias", 0), norm), 0)
    expected = h @ p["out"]["kernel"] + p["out"].get("bias", 0)
    found = jax.jit(functools.partial(head.apply, train=False))(variables, features)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_biases_start_small_and_leave_the_start_of_the_other_parameters_as_it_is():
    features = small_features()
    heads = PointwiseHead(), PointwiseHead(use_bias=True)
    plain, biased = jax.jit(lambda key: [head.init(key, features, train=False)["params"] for head in heads])(
        jax.random.key(3)
    )
    assert 0 < np.abs(biased["bias"]).max() < 73**-0.5  # U(+-1/sqrt(inputs))
    for path, leaf in jax.tree.leaves_with_path(plain):
        same = functools.reduce(lambda tree, key: tree[key.key], path, biased)
        np.testing.assert_array_equal(leaf, same)


@pytest.mark.parametrize(
    ("encoder", "count"),
    [(DGCNN(), 989_712), (PointNet(), 989_712 - 192 * 512), (DGCNNSegmentation(), 825_872)],
)
def test_the_head_of_counts_has_the_published_size(encoder, count):
    points = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
    key = jax.random.key(0)
    features, _ = jax.eval_shape(functools.partial(encoder.init_with_output, train=False), key, points)
    logits, variables = jax.eval_shape(
        functools.partial(CountHead(16).init_with_output, train=False), key, features
    )
    assert logits.shape == (2, 32, 16)
    assert size(variables["params"]) == count
    if count == 989_712:
        parts = {name: size(tree) for name, tree in variables["params"].items()}
        assert parts == {
            "kernel": 786_432, "norm": 1_024, "conv2": 131_840, "conv3": 66_304, "out": 4_112,
        }  # fmt: skip


def test_the_head_of_counts_equals_its_formula():
    features, head = small_features(), CountHead(5)
    variables = random_variables(head, features)
    p = jax.device_get(variables["params"])
    everywhere = np.repeat(features.embedding[:, None, :], 10, axis=1)
    h = np.concatenate([*features.layers, everywhere], axis=-1)
    h = np.maximum(normalized(h @ p["kernel"], p["norm"]), 0)
    for name in ("conv2", "conv3"):
        h = normalized(h @ p[name]["dense"]["kernel"] + p[name]["dense"]["bias"], p[name]["norm"])
        h = np.where(h > 0, h, 0.2 * h)
    expected = h @ p["out"]["kernel"] + p["out"]["bias"]
    found = jax.jit(functools.partial(head.apply, train=False))(variables, features)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("slope", "biases"), [(0.2, (True, True)), (0.0, (False, True))])
def test_classification_equals_its_formula(slope, biases):
    head = ClassificationHead(5, hidden=(8, 4), negative_slope=slope, hidden_bias=biases)
    embedding = values(3, 6)
    features = Features(jnp.asarray(embedding), ())
    variables = random_variables(head, features)
    p, h = jax.device_get(variables["params"]), embedding
    assert tuple("bias" in p[name]["dense"] for name in ("fc1", "fc2")) == biases
    for name in ("fc1", "fc2"):
        h = h @ p[name]["dense"]["kernel"] + p[name]["dense"].get("bias", 0)
        h = normalized(h, p[name]["norm"])
        h = np.where(h > 0, h, slope * h)
    logits = jax.jit(functools.partial(head.apply, train=False))(variables, features)
    np.testing.assert_allclose(logits, h @ p["out"]["kernel"] + p["out"]["bias"], rtol=1e-4, atol=1e-6)


def test_a_head_of_unit_rows_equals_its_formula():
    head, embedding = UnitRowHead(5, hidden=(8, 4)), values(3, 6)
    features = Features(jnp.asarray(embedding), ())
    variables = random_variables(head, features)
    p, h = jax.device_get(variables["params"]), embedding.astype(np.float64)
    for name in ("fc1", "fc2"):
        h = h / np.linalg.norm(h, axis=1, keepdims=True)
        h = h @ p[name]["dense"]["kernel"] + p[name]["dense"]["bias"]
        h = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 1e-5)
        h = h * p[name]["norm"]["scale"] + p[name]["norm"]["bias"]
        h = np.where(h > 0, h, 0.2 * h)
    logits = jax.jit(functools.partial(head.apply, train=False))(variables, features)
    np.testing.assert_allclose(logits, h @ p["out"]["kernel"] + p["out"]["bias"], rtol=1e-4, atol=1e-5)


def test_unit_rows_of_any_length_that_float32_has_and_of_none():
    row = values(1, 6)
    lengths = np.array([1, 1e-30, 1e30, 0], np.float32)[:, None]
    rows = jax.jit(unit_rows)(lengths * row)
    unit = row / np.linalg.norm(row.astype(np.float64))
    np.testing.assert_allclose(rows, np.concatenate([unit, unit, unit, 0 * row]), rtol=1e-6)
    weight = values(4, 6, seed=1)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weight * unit_rows(x))))(lengths * row)
    chex.assert_tree_all_finite(gradient)
    across = weight - np.sum(weight * unit, axis=1, keepdims=True) * unit
    np.testing.assert_allclose(gradient[0], across[0] / np.linalg.norm(row), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(gradient[3], weight[3])
    assert np.isnan(unit_rows(jnp.full((1, 2), jnp.nan))).all()


@pytest.mark.parametrize(
    ("head", "inputs"),
    [
        (ClassificationHead(5, (64, 64)), Features(jnp.asarray(values(3, 6)), ())),
        (PointwiseHead(), small_features()),
        (CountHead(4), small_features()),
        (UnitRowHead(5, (64, 64)), Features(jnp.asarray(values(3, 6)), ())),
    ],
)
def test_dropout_acts_in_training_only_and_by_its_key(head, inputs):
    variables = random_variables(head, inputs)
    infer = jax.jit(functools.partial(head.apply, train=False))
    np.testing.assert_array_equal(infer(variables, inputs), infer(variables, inputs))

    @jax.jit
    def train(key):
        return head.apply(variables, inputs, train=True, mutable=["batch_stats"], rngs={"dropout": key})

    (first, updated), (again, _), (other, _) = (train(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    chex.assert_trees_all_equal_structs(updated.get("batch_stats", {}), variables["batch_stats"])
    without = head.clone(dropout=0.0)
    same, _ = without.apply(variables, inputs, train=True, mutable=["batch_stats"])  # needs no key
    assert np.abs(same - first).max() > 1e-3


def test_only_the_named_structures_have_a_head():
    features = small_features()
    heads = StructureHeads(("normal", "cardinality"), bins=7)
    variables = random_variables(heads, features)
    assert set(variables["params"]) == {"normal", "cardinality"}
    both = jax.eval_shape(
        lambda key: StructureHeads(("position", "normal"), 7, 0.5, True).init(key, features, train=False),
        jax.random.key(0),
    )
    assert ["bias" in both["params"][name] for name in ("position", "normal")] == [True, False]
    told = heads.apply(variables, features, train=False)
    assert {name: value.shape for name, value in told.items()} == {
        "normal": (3, 10, 3),
        "cardinality": (3, 10, 7),
    }
    alone = PointwiseHead(3).apply(
        {kind: trees["normal"] for kind, trees in variables.items()}, features, train=False
    )
    np.testing.assert_allclose(told["normal"], alone, rtol=1e-6)
