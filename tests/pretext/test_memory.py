import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.pretext.memory import NOBODY, class_means, empty_memory, remember, surest_of_classes


def holding(memory):
    return {"params": {}, "batch_stats": {"encoder": {}, "pretext": memory}}


def test_the_newest_come_first_and_the_oldest_are_left_out():
    variables = holding(empty_memory(5, 2))
    for first in (0, 3):
        number = jnp.arange(first, first + 3)
        embedding = jnp.stack([1.0 * number, 10.0 * number], axis=1)
        variables = remember(variables, "target", embedding, number, number / 10)
    memory = variables["batch_stats"]["pretext"]
    np.testing.assert_array_equal(memory["target"]["label"], [3, 4, 5, 0, 1])
    np.testing.assert_array_equal(memory["target"]["embedding"][:, 1], [30, 40, 50, 0, 10])
    np.testing.assert_allclose(memory["target"]["confidence"], [0.3, 0.4, 0.5, 0, 0.1])
    assert (memory["source"]["label"] == NOBODY).all() and variables["batch_stats"]["encoder"] == {}


def test_a_batch_larger_than_the_memory_fills_it():
    variables = remember(
        holding(empty_memory(2, 1)), "source", jnp.arange(3.0)[:, None], jnp.arange(3), jnp.ones(3)
    )
    np.testing.assert_array_equal(variables["batch_stats"]["pretext"]["source"]["label"], [0, 1])


def test_no_gradient_passes_through_the_memory():
    def total(embedding):
        found = remember(
            holding(empty_memory(3, 2)), "source", embedding, jnp.zeros(2, jnp.int32), jnp.ones(2)
        )
        return jnp.sum(found["batch_stats"]["pretext"]["source"]["embedding"])

    value, gradient = jax.value_and_grad(total)(jnp.ones((2, 2)))
    assert value == 4 and (gradient == 0).all()


def test_the_surest_of_each_class_against_a_loop():
    rng = np.random.default_rng(0)
    label = rng.integers(NOBODY, 4, 40)
    label[label == 2] = 3  # a class without any
    confidence = rng.uniform(size=40).astype(np.float32)
    memory = {"label": jnp.asarray(label), "confidence": jnp.asarray(confidence)}
    for share in (0.0, 0.3, 0.55, 1.0):
        expected = np.zeros((40, 4))
        for c in range(4):
            rows = np.flatnonzero(label == c)
            expected[rows[np.argsort(-confidence[rows])][: int(share * len(rows))], c] = 1
        np.testing.assert_array_equal(surest_of_classes(memory, share, 4), expected)
    assert expected[:, 0].sum() > 3 and expected.sum() == (label != NOBODY).sum()


def test_class_means_of_members_and_0_of_no_members():
    values = jnp.array([[1.0, 2.0], [3.0, 6.0], [7.0, 7.0]])
    member = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(class_means(values, member), [[2, 4], [0, 0]])
