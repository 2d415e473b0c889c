"""What holds for every task, and that the interface carries labels per point and several heads."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.augment import Mixed
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.metrics import class_accuracy, confusion_matrix
from smdsb_jax.network import Network, init_network, loss_of_one, predict
from smdsb_jax.tasks import TASKS, Task, cross_entropy

BATCH, POINTS, CLASSES = 3, 8, 4


def network_of(task):
    encoder = ENCODERS["pointnet"](input_tnet=False, feature_tnet=False, layers=(8, 8), embedding=16)
    return Network(encoder, task.head(encoder, CLASSES, 0.0), task)


class TwoHeads(nn.Module):
    """Of every point, from all features."""

    @nn.compact
    def __call__(self, features, *, train):
        del train
        return tuple(nn.Dense(CLASSES, name=name)(features.per_point) for name in ("first", "other"))


def two_segmenters():
    """Labels per point, two heads, their mean as logits, labels that follow mixed points."""

    def loss(output, label):
        return sum(cross_entropy(logits, label) for logits in output)

    def mixed_loss(output, label, mixed):
        both = jnp.concatenate([label, label[mixed.partner]], axis=1)
        return loss(output, jnp.take_along_axis(both, mixed.rows, axis=1))

    return Task(
        head=lambda encoder, classes, dropout: TwoHeads(),
        loss=loss,
        logits=lambda output: (output[0] + output[1]) / 2,
        mixed_loss=mixed_loss,
        scores=lambda label, prediction, classes: {"accuracy": float((label == prediction).mean())},
        class_score="accuracy",
        of_classes=class_accuracy,
        per_point=True,
    )


@pytest.mark.parametrize("make", [*TASKS.values(), two_segmenters], ids=lambda make: make.__name__)
def test_a_task_gives_a_network_losses_logits_and_scores(make):
    task = make()
    network = network_of(task)
    points = jax.random.normal(jax.random.key(0), (BATCH, POINTS, 3))
    variables = init_network(network, jax.random.key(1), jax.ShapeDtypeStruct(points.shape, points.dtype))
    output, _, _ = predict(network, variables, points)
    logits = task.logits(output)
    label = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    assert logits.shape == (*label.shape, CLASSES)
    assert label.shape == ((BATCH, POINTS) if task.per_point else (BATCH,))
    losses = task.loss(output, label)
    assert losses.shape == label.shape and (losses > 0).all()
    (loss, (embedding, own)), gradient = jax.value_and_grad(
        lambda p: loss_of_one(network, variables, p, label[1]), has_aux=True
    )(points[1])
    np.testing.assert_allclose(loss, jnp.mean(losses[1]), rtol=1e-5)
    np.testing.assert_allclose(own, logits[1], rtol=1e-5, atol=1e-6)
    assert embedding.shape == (16,) and np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    assert next(iter(task.scores(np.asarray(label), np.asarray(label), CLASSES).values())) == 1.0
    of_classes = task.of_classes(confusion_matrix(np.ravel(label), np.ravel(label), CLASSES))
    assert set(of_classes[np.isfinite(of_classes)]) == {1.0} and task.class_score in ("accuracy", "IoU")
    whole = Mixed(points, jnp.arange(BATCH)[::-1], jnp.ones(()), jnp.tile(jnp.arange(POINTS), (BATCH, 1)))
    np.testing.assert_allclose(task.mixed_loss(output, label, whole), losses, rtol=1e-6)
    none = Mixed(points, jnp.arange(BATCH)[::-1], jnp.zeros(()), whole.rows + POINTS)
    np.testing.assert_allclose(
        task.mixed_loss(output, label, none), task.loss(output, label[::-1]), rtol=1e-6
    )
