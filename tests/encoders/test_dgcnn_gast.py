import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders.dgcnn_gast import DGCNNGAST
from tests.random_variables import random_variables

CLOUDS = jax.ShapeDtypeStruct((2, 1024, 3), jnp.float32)
POINTS = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
NARROW = {"k": 4, "layers": (8, 6), "embedding": 32}
RELEASED = {**NARROW, "norm": "layer_released", "points": 20}


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, inputs):
    return jax.eval_shape(functools.partial(module.init_with_output, train=False), jax.random.key(0), inputs)


@pytest.mark.parametrize("norm, edges", [("layer_released", 21_062_016), ("batch", 354_688 - 263_168)])
def test_numbers_of_parameters_are_the_published_ones(norm, edges):
    features, variables = shapes(DGCNNGAST(norm=norm), CLOUDS)
    sizes = {name: size(part) for name, part in variables["params"].items()}
    assert sizes.pop("agg") == 263_168 and sum(sizes.values()) == edges
    assert set(sizes) == {"edge1", "edge2", "edge3", "edge4"}
    assert features.embedding.shape == (2, 1024)
    assert [f.shape[-1] for f in features.layers] == [64, 64, 128, 256]
    _, head = shapes(DGCNNGAST().head(10, 0.5), features)
    assert size(head["params"]) == 660_234


def test_the_embedding_has_the_maxima_then_the_means_and_its_length_does_not_matter_to_the_head():
    encoder = DGCNNGAST(**NARROW)
    variables = random_variables(encoder, POINTS)
    features = jax.jit(functools.partial(encoder.apply, train=False))(variables, POINTS)
    agg = jax.device_get(variables["params"]["agg"])
    last = np.asarray(features.per_point) @ agg["dense"]["kernel"]
    last = last / np.sqrt(1 + 1e-5) - 1 / np.sqrt(1 + 1e-5)  # running statistics of 1
    last = last * agg["norm"]["scale"] + agg["norm"]["bias"]
    last = np.where(last > 0, last, 0.2 * last)
    parts = np.concatenate([last.max(axis=1), last.mean(axis=1)], axis=1)
    np.testing.assert_allclose(features.embedding, parts, rtol=1e-4, atol=1e-4)
    head = encoder.head(5, 0.5)
    of_head = random_variables(head, features)
    logits = jax.jit(functools.partial(head.apply, train=False))
    longer = features._replace(embedding=7 * features.embedding)
    other = features._replace(embedding=7 + features.embedding)
    expected = logits(of_head, features)
    np.testing.assert_allclose(logits(of_head, longer), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(logits(of_head, other) - expected).max() > 1e-2


@pytest.mark.parametrize("options, is_of_a_set", [(NARROW, True), (RELEASED, False)])
def test_only_the_release_depends_on_the_order_of_points(options, is_of_a_set):
    encoder, head = DGCNNGAST(**options), DGCNNGAST(**options).head(5, 0.5)
    variables = random_variables(encoder, POINTS)
    features = shapes(encoder, POINTS)[0]
    of_head = random_variables(head, features)

    @jax.jit
    def logits(points):
        return head.apply(of_head, encoder.apply(variables, points, train=False), train=False)

    deviation = np.abs(logits(POINTS[:, np.random.default_rng(1).permutation(20)]) - logits(POINTS)).max()
    assert deviation < 1e-5 if is_of_a_set else deviation > 1e-2


def test_the_release_normalizes_each_cloud_by_itself_in_training_too():
    encoder = DGCNNGAST(**RELEASED)
    variables = random_variables(encoder, POINTS)
    train = jax.jit(functools.partial(encoder.apply, train=True, mutable=["batch_stats"]))
    features, updated = train(variables, POINTS)
    inferred = jax.jit(functools.partial(encoder.apply, train=False))(variables, POINTS)
    chex.assert_trees_all_close(features.layers, inferred.layers, rtol=1e-5, atol=1e-5)
    assert set(updated["batch_stats"]) == {"agg"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"norm": "layer"}, r"config\.encoder\.norm = 'layer': one of 'batch', 'layer_released'"),
        ({"embedding": 33}, r"config\.encoder\.embedding = 33: even"),
        ({"k": 65}, r"config\.encoder\.k = 65 neighbors among config\.data\.points = 64"),
        (
            {"norm": "layer_released"},
            r"config\.encoder\.points = 1024 points, these have 64: .*config\.data\.points .*norm=batch\.",
        ),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DGCNNGAST(**options).check(64)
    DGCNNGAST(norm="layer_released").check(1024)


def test_clouds_of_other_points_are_refused():
    with pytest.raises(ValueError, match=r"config\.encoder\.points = 20 points, these have 1024"):
        shapes(DGCNNGAST(**RELEASED), CLOUDS)
