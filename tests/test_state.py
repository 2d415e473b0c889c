import jax.numpy as jnp
import numpy as np

from smdsb_jax.state import Batch, Clouds, Features


def test_per_point_features_are_all_layers_side_by_side():
    layers = (jnp.ones((2, 5, 3)), 2 * jnp.ones((2, 5, 4)))
    found = Features(jnp.zeros((2, 8)), layers).per_point
    np.testing.assert_array_equal(found, np.concatenate(layers, axis=-1))


def test_a_batch_lists_the_source_first():
    assert Batch._fields == ("source", "target")  # the order of the passes
    assert Clouds(jnp.zeros((2, 5, 3))).label is None
