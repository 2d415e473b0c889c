import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.layers.tnet import EdgeTNet, PointTNet
from tests.random_variables import random_variables

POINTS = np.random.default_rng(0).normal(size=(2, 12, 3)).astype(np.float32)


@pytest.mark.parametrize("tnet", [EdgeTNet(k=4, width=32), EdgeTNet(4, 32, False), PointTNet(width=32)])
def test_matrix_is_the_identity_plus_the_last_layer_row_by_row(tnet):
    variables = random_variables(tnet, POINTS)
    apply = jax.jit(functools.partial(tnet.apply, train=False))
    first, second = apply(variables, POINTS)
    assert np.abs(first - second).max() > 1e-6  # it depends on the cloud
    variables["params"]["out"] = {"kernel": jnp.zeros((8, 9)), "bias": jnp.arange(9.0)}
    expected = np.arange(9).reshape(3, 3) + np.eye(3)
    np.testing.assert_array_equal(apply(variables, POINTS), [expected, expected])


def biases(tnet, channels):
    cloud = jax.ShapeDtypeStruct((2, 32, channels), jnp.float32)
    init = functools.partial(tnet.init, train=False)
    params = jax.eval_shape(init, jax.random.key(0), cloud)["params"]
    return {name for name, layer in params.items() if "bias" in layer.get("dense", layer)}


def test_which_layers_have_a_bias():
    assert biases(EdgeTNet(), 3) == {"fc2", "out"}
    assert biases(EdgeTNet(use_norm=False), 3) == {"fc1", "fc2", "out"}
    assert biases(PointTNet(), 64) == {"conv1", "conv2", "conv3", "fc1", "fc2", "out"}
