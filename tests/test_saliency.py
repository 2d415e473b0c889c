import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.saliency import measure_per_sample, saliency

CROSS = np.array([(1, 0, 0), (-1, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 0)], np.float32)


@pytest.mark.parametrize("alpha, expected", [(1.0, [-1, -1, -8, -8, 0]), (0.0, [-1, -1, -4, -4, 0])])
def test_quadratic_loss_by_hand(alpha, expected):
    # L = ½ Σ |x|² has the gradient x; the center is 0
    np.testing.assert_allclose(saliency(jnp.asarray(CROSS), jnp.asarray(CROSS), alpha), expected, atol=1e-6)


def test_center_is_the_mean_of_the_two_middle_values():
    points = np.zeros((4, 3), np.float32)
    points[:, 0] = 0, 1, 2, 10  # median 1.5; not 1 and not the mean 3.25
    gradient = np.tile(np.array([1, 0, 0], np.float32), (4, 1))
    np.testing.assert_allclose(
        saliency(jnp.asarray(points), jnp.asarray(gradient), 0.0), [1.5, 0.5, -0.5, -8.5]
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_equals_the_derivative_along_the_ray(alpha):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        points, weights, out = rng.normal(size=(9, 3)), rng.normal(size=(3, 16)), rng.normal(size=16)
        loss = lambda x: np.sum(np.tanh(x @ weights) @ out)  # noqa: E731
        gradient = jax.grad(lambda x: jnp.sum(jnp.tanh(x @ weights) @ out))(jnp.asarray(points))
        found = saliency(jnp.asarray(points), gradient, alpha)
        center = np.median(points, axis=0)
        for i in range(len(points)):
            offset = points[i] - center
            radius = np.linalg.norm(offset)
            moved = [points.copy() for _ in range(2)]
            for sign, cloud in zip((1, -1), moved, strict=True):
                cloud[i] = center + (radius + sign * 1e-5) * offset / radius
            slope = (loss(moved[0]) - loss(moved[1])) / 2e-5
            assert found[i] == pytest.approx(-slope * radius ** (1 + alpha), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_a_point_at_the_center_and_coincident_points_are_finite(alpha):
    def total(points):
        return jnp.sum(saliency(points, 2 * points, alpha)) + jnp.sum(points**2)

    for points in (CROSS, np.ones((6, 3), np.float32)):
        maps = saliency(jnp.asarray(points), jnp.ones_like(points), alpha)
        chex.assert_tree_all_finite((maps, jax.grad(total)(jnp.asarray(points))))
    assert (maps == 0).all()


def test_no_gradient_flows_through_it():
    gradient = jax.grad(lambda x: jnp.sum(saliency(x, 2 * x, 1.0)))(jnp.asarray(CROSS))
    assert (gradient == 0).all()


def test_per_sample_gradients_are_those_of_each_loss_alone():
    def loss_of_one(points, label):
        embedding = jnp.sum(jnp.sin(points), axis=0)
        logits = jnp.outer(embedding, jnp.arange(1.0, 5.0))[0]
        return -jax.nn.log_softmax(logits)[label], (embedding, logits)

    points = jax.random.normal(jax.random.key(0), (3, 7, 3))
    label = jnp.array([0, 3, 1])
    found = measure_per_sample(loss_of_one, points, label, 1.0, jax.random.split(jax.random.key(1), 3))
    for i in range(3):
        (loss, (embedding, logits)), gradient = jax.value_and_grad(loss_of_one, has_aux=True)(
            points[i], label[i]
        )
        chex.assert_trees_all_close(
            (found.loss[i], found.embedding[i], found.logits[i], found.gradient[i]),
            (loss, embedding, logits, gradient),
            rtol=1e-5,
        )
        chex.assert_trees_all_close(found.saliency[i], saliency(points[i], gradient, 1.0), rtol=1e-5)
