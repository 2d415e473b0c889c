import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.statistics.grand import grand
from tests.statistics.made_samples import sample


@pytest.mark.parametrize("label", [0, 3])
def test_equals_the_gradient_of_a_linear_layer_with_bias(label):
    rng = np.random.default_rng(label)
    weight, bias, embedding = rng.normal(size=(5, 8)), rng.normal(size=5), rng.normal(size=8)

    def loss(weight, bias):
        return -jax.nn.log_softmax(weight @ embedding + bias)[label]

    with jax.enable_x64(True):
        gradients = jax.grad(loss, argnums=(0, 1))(jnp.asarray(weight), jnp.asarray(bias))
    expected = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
    made = sample(logits=weight @ embedding + bias, label=label, embedding=embedding)
    assert float(grand(made)) == pytest.approx(expected, rel=1e-5)


def test_without_an_embedding_the_bias_remains():
    assert float(grand(sample(logits=[0.0, 0.0], embedding=[0.0, 0.0]))) == pytest.approx(np.sqrt(0.5))
