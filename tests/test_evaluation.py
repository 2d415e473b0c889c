import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import augment
from smdsb_jax.datasets.domain import Split
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.evaluation import eval_step, evaluate, predict_split
from smdsb_jax.network import Network, classify, init_network

POINTS, CLASSES, CLOUDS = 16, 3, 11


@pytest.fixture(scope="module")
def made():
    encoder = ENCODERS["pointnet"](input_tnet=False, feature_tnet=False, layers=(8, 8), embedding=16)
    network = Network(encoder, encoder.head(CLASSES, 0.5))
    shape = jax.ShapeDtypeStruct((2, POINTS, 3), jnp.float32)
    variables = init_network(network, jax.random.key(0), shape)
    step = jax.jit(functools.partial(eval_step, network, POINTS, "uniform"))
    return network, variables, step


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (CLOUDS, 24, 3)).astype(np.float32)
    points *= rng.uniform(0.2, 1, (CLOUDS, 1, 3)).astype(np.float32)
    return Split(points, (np.arange(CLOUDS) % CLASSES).astype(np.int32))


def test_the_confusion_matrix_is_that_of_a_direct_computation(made, split):
    network, variables, step = made
    expected = np.zeros((CLASSES, CLASSES), int)
    for i, (cloud, label) in enumerate(zip(split.points, split.label, strict=True)):
        key = jax.random.fold_in(jax.random.key(0), i)
        seen = augment.subsample(key, jnp.asarray(cloud), POINTS, "uniform")
        logits, _, _ = classify(network, variables, seen[None])
        expected[label, int(logits[0].argmax())] += 1
    found = evaluate(step, variables, split, 4, CLASSES)  # the last chunk is 3 clouds and 1 filler
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == CLOUDS
    np.testing.assert_array_equal(found.sum(axis=1), np.bincount(split.label))


@pytest.mark.parametrize("batch", [1, 11, 16])
def test_the_batch_size_changes_nothing(made, split, batch):
    _, variables, step = made
    few, many = (predict_split(step, variables, split.points, size) for size in (4, batch))
    assert many.logits.shape == (CLOUDS, CLASSES) and many.embedding.shape == (CLOUDS, 16)
    np.testing.assert_allclose(many.logits, few.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(many.embedding, few.embedding, rtol=1e-5, atol=1e-6)


def test_what_fills_the_last_chunk_does_not_count(made, split):
    _, variables, step = made
    seen = []

    def spy(variables, chunk, index):
        seen.append((chunk.shape, np.asarray(index).tolist()))
        logits, embedding = step(variables, chunk, index)
        return logits.at[3:].set(1e9), embedding  # of the last chunk: the filler

    found = predict_split(spy, variables, split.points, 4).logits
    assert seen == [((4, 24, 3), [0, 1, 2, 3]), ((4, 24, 3), [4, 5, 6, 7]), ((4, 24, 3), [8, 9, 10, 11])]
    expected = predict_split(step, variables, split.points, 4).logits
    np.testing.assert_array_equal(found[8:], expected[8:])


def test_the_subsample_depends_on_the_index_alone(made, split):
    _, variables, step = made
    cloud = jnp.asarray(np.repeat(split.points[:1], 4, axis=0))
    _, embedding = step(variables, cloud, jnp.arange(4))
    assert len(np.unique(embedding, axis=0)) > 1  # of one cloud, by its index
    _, shuffled = step(variables, cloud, jnp.array([2, 0, 3, 1]))
    np.testing.assert_allclose(shuffled, embedding[jnp.array([2, 0, 3, 1])], rtol=1e-6)
    again = step(variables, cloud, jnp.arange(4))[1]
    np.testing.assert_array_equal(embedding, again)
