"""A network of a few products, for tests of what a task does with its passes."""

import jax
import jax.numpy as jnp

from smdsb_jax.network import Passes
from smdsb_jax.state import Features

WIDTH, CLASSES = 6, 3


def fake_variables(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    encoder = {
        "first": jax.random.normal(keys[0], (3, WIDTH)),
        "second": jax.random.normal(keys[1], (WIDTH, WIDTH)),
    }
    params = {"encoder": encoder, "head": {"kernel": jax.random.normal(keys[2], (WIDTH, CLASSES))}}
    return {"params": params, "batch_stats": {"encoder": {}, "head": {}}}


def features_of(variables, points, nodes=None):
    """Two layers per point and the maximum of the second; with `nodes` so many first points as nodes."""
    encoder = variables["params"]["encoder"]
    first = jnp.tanh(points @ encoder["first"])
    second = jnp.tanh(first @ encoder["second"])
    return Features(jnp.max(second, axis=1), (first, second), None if nodes is None else second[:, :nodes])


def fake_passes(nodes=None):
    def encode(variables, points, key, *, train=True):
        return features_of(variables, points, nodes), variables

    def head(variables, features, key, *, train=True):
        return features.embedding @ variables["params"]["head"]["kernel"], variables

    return Passes(encode, head)
