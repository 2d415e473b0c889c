import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from smdsb_jax import augment, resolve
from smdsb_jax.build import build_network
from smdsb_jax.datasets.domain import Split
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.network import Network, init_network, predict
from smdsb_jax.run.evaluation import (
    Evaluated,
    at_stored_points,
    eval_batch_size,
    eval_step,
    jit_eval_step,
    labels_and_predictions,
    predict_split,
)
from smdsb_jax.state import Predictions
from smdsb_jax.tasks.classification import classification
from tests.tiny_run import tiny_config

POINTS, CLASSES, CLOUDS = 16, 3, 11


@pytest.fixture(scope="module")
def made():
    encoder = ENCODERS["pointnet"](input_tnet=False, feature_tnet=False, layers=(8, 8), embedding=16)
    network = Network(encoder, encoder.head(CLASSES, 0.5), classification())
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


def test_the_predictions_are_those_of_a_direct_computation(made, split):
    network, variables, step = made
    expected = []
    for cloud in split.points:
        taken = augment.subsample(jax.random.key(0), jnp.asarray(cloud), POINTS, "uniform")
        logits, _, _ = predict(network, variables, taken.points[None])
        expected.append(int(logits[0].argmax()))
    label, found = labels_and_predictions(step, variables, split, 4)  # the last chunk is 3 clouds, 1 filler
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(label, split.label)


def test_labels_of_points_are_held_against_the_points_that_the_network_got(made, split):
    _, variables, step = made
    of_points = np.arange(CLOUDS * 24, dtype=np.int32).reshape(CLOUDS, 24)
    label, _ = labels_and_predictions(step, variables, split._replace(label=of_points), 4)
    rows = augment.subsample(jax.random.key(0), jnp.asarray(split.points[0]), POINTS, "uniform").rows
    np.testing.assert_array_equal(label, of_points[:, rows])


def test_points_that_the_network_did_not_get_have_the_logits_of_the_nearest_that_it_got(split):
    rng = np.random.default_rng(1)
    rows = np.stack([rng.permutation(24)[:POINTS] for _ in range(CLOUDS)])
    logits = rng.normal(size=(CLOUDS, POINTS, CLASSES)).astype(np.float32)
    found = at_stored_points(
        Evaluated(Predictions(jnp.asarray(logits), jnp.zeros((CLOUDS, 2))), jnp.asarray(rows)), split.points
    )
    for cloud, got, own, all_ in zip(split.points, rows, logits, found, strict=True):
        nearest = scipy.spatial.cKDTree(cloud[got]).query(cloud)[1]
        np.testing.assert_array_equal(all_, own[nearest])
        np.testing.assert_array_equal(all_[got], own)
    of_clouds = Evaluated(Predictions(jnp.asarray(logits[:, 0]), jnp.zeros((CLOUDS, 2))), jnp.asarray(rows))
    np.testing.assert_array_equal(at_stored_points(of_clouds, split.points), logits[:, 0])


@pytest.mark.parametrize("batch", [1, 11, 16])
def test_the_batch_size_changes_nothing(made, split, batch):
    _, variables, step = made
    few, many = (predict_split(step, variables, split.points, size).predictions for size in (4, batch))
    assert many.logits.shape == (CLOUDS, CLASSES) and many.embedding.shape == (CLOUDS, 16)
    np.testing.assert_allclose(many.logits, few.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(many.embedding, few.embedding, rtol=1e-5, atol=1e-6)


def test_what_fills_the_last_chunk_does_not_count(made, split):
    _, variables, step = made
    shapes = []

    def spy(variables, chunk):
        shapes.append(chunk.shape)
        (logits, embedding), rows = step(variables, chunk)
        return Evaluated(
            Predictions(logits.at[3:].set(1e9), embedding), rows
        )  # of the last chunk: the filler

    found = predict_split(spy, variables, split.points, 4).predictions.logits
    assert shapes == [(4, 24, 3)] * 3
    expected = predict_split(step, variables, split.points, 4).predictions.logits
    np.testing.assert_array_equal(found[8:], expected[8:])


def test_what_is_said_of_a_cloud_depends_on_the_cloud_alone(made, split):
    _, variables, step = made
    whole = predict_split(step, variables, split.points, 4).predictions.logits
    backwards = predict_split(step, variables, split.points[::-1], 4).predictions.logits
    np.testing.assert_allclose(backwards[::-1], whole, rtol=1e-5, atol=1e-6)
    same = predict_split(step, variables, np.repeat(split.points[:1], 5, axis=0), 4).predictions.logits
    np.testing.assert_allclose(same, np.repeat(whole[:1], 5, axis=0), rtol=1e-5, atol=1e-6)


def test_the_evaluation_batch_divides_over_the_devices():
    assert [eval_batch_size(tiny_config(eval_batch_size=n)) for n in (1, 4, 5, 64)] == [4, 4, 8, 64]


@pytest.mark.parametrize("precision, operands", [("bfloat16", "DEFAULT"), ("float32", "HIGHEST")])
def test_the_evaluation_has_the_configured_precision_wherever_it_is_called(precision, operands):
    config = resolve(tiny_config(matmul_precision=precision))
    step = jit_eval_step(config, CLASSES)
    assert step is jit_eval_step(config, CLASSES)  # compiled once for the same
    clouds = jax.ShapeDtypeStruct((2, config.data.points, 3), jnp.float32)
    start = functools.partial(init_network, build_network(config, CLASSES), points=clouds)
    variables = jax.eval_shape(start, jax.random.key(0))
    with jax.default_matmul_precision("tensorfloat32"):  # of somebody else
        text = step.lower(variables, jnp.zeros((4, 40, 3))).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all(f"precision = [{operands}, {operands}]" in line for line in products)
