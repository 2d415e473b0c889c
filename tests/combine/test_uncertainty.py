import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine.uncertainty import FACTORS, objective, uncertainty
from tests.combine.merging import G_1, G_2, merge


@pytest.mark.parametrize(
    "form, total, slope",
    [("released", 1.97308191, (-0.32436064, -1.14872127)),
     ("classification", 4.44616381, (-1.14872127, -2.79744254))],
)  # fmt: skip
def test_the_objective_and_its_derivative(form, total, slope):
    found = jax.value_and_grad(objective)(jnp.full(2, -0.5), jnp.array([1.0, 2.0]), FACTORS[form])
    assert found[0] == pytest.approx(total, rel=1e-6)
    np.testing.assert_allclose(found[1], slope, rtol=1e-5)


def test_weights_start_alike_and_are_half_of_one_over_the_loss_at_the_optimum():
    rule = uncertainty(learning_rate=0.1)
    merged = merge(rule, G_1, G_2, losses=[1.0, 2.0])
    np.testing.assert_allclose(merged.encoder, (0, 0.824361), atol=1e-6)
    np.testing.assert_allclose(merged.head_weights, (0.824361, 0.824361), rtol=1e-6)
    np.testing.assert_allclose(merged.state["log_variance"], (-0.4, -0.4), rtol=1e-5)  # Adam's first step
    absent = merge(rule, G_1, (0, 0), losses=[1.0, 0.0], state=merged.state)
    assert absent.state["log_variance"][1] == merged.state["log_variance"][1]
    optimum = merged.state | {"log_variance": jnp.log(jnp.array([1.0, 2.0]))}
    np.testing.assert_allclose(merge(rule, G_1, G_2, state=optimum).weights, (0.5, 0.25), rtol=1e-6)
    assert merge(uncertainty(weight_heads=False), G_1, G_2).head_weights is None
