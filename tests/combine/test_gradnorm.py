import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine.gradnorm import gradnorm, targets
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.registry import options
from tests.combine.merging import G_1, G_2, merge


def test_the_targets_and_a_step_toward_them():
    lengths, losses, first = (jnp.array(v) for v in ((1.0, 2**0.5), (0.5, 2.0), (1.0, 2.0)))
    found = targets(lengths, losses, first, jnp.ones(2, bool), 1.5)
    np.testing.assert_allclose(found, (0.65706571, 1.85846247), rtol=1e-6)
    assert float(jnp.abs(lengths - found).sum()) == pytest.approx(0.78718320, rel=1e-6)
    rule = gradnorm(layer="", initial_steps=1)
    begun = merge(rule, G_1, G_2, losses=[1.0, 2.0])
    np.testing.assert_array_equal(begun.encoder, (0, 1))
    merged = merge(rule, G_1, G_2, losses=[0.5, 2.0], state=begun.state)
    np.testing.assert_array_equal(merged.encoder, (0, 1))  # by the weights before the step
    np.testing.assert_allclose(merged.state["weights"], (0.96997778, 1.03002222), rtol=1e-6)
    assert merged.head_weights is None
    after = merge(gradnorm(layer="", initial_steps=1, weight_heads=True), G_1, G_2, state=merged.state)
    np.testing.assert_array_equal(after.head_weights, merged.state["weights"])


def test_first_losses_are_means_and_the_layer_is_the_named_one():
    rule = gradnorm(initial_steps=2)  # of the first number alone
    state = merge(rule, G_1, G_2, losses=[1.0, 1.0]).state
    state = merge(rule, G_1, G_2, losses=[3.0, 1.0], state=state).state
    np.testing.assert_array_equal(state["first"], (2, 1))
    np.testing.assert_array_equal(state["weights"], (1, 1))
    state = merge(rule, G_1, G_2, losses=[1.0, 1.0], state=state).state
    np.testing.assert_allclose(state["weights"], (0.975, 1.025), rtol=1e-6)
    np.testing.assert_array_equal(merge(rule, G_1, (0, 0), state=state).state["weights"], state["weights"])
    with pytest.raises(ValueError, match=r"config.combine.layer = 'aggr' .* Did you mean 'agg'"):
        merge(gradnorm(layer="aggr"), G_1, G_2)


def test_every_encoder_of_the_library_has_the_layer():
    points = jnp.zeros((2, 32, 3))
    for name, encoder in ENCODERS.items():
        fields = {"input_tnet": False, "feature_tnet": False, "nodes": 4, "members": 4, "embedding": 16}
        known = options(encoder)
        network = encoder(**{field: value for field, value in fields.items() if field in known})
        params = jax.eval_shape(lambda n=network: n.init(jax.random.key(0), points, train=False))["params"]
        assert options(gradnorm)["layer"] in params, name
