"""Variables of a module drawn by numpy: compiling its real start costs more than most tests of it."""

import functools

import jax
import numpy as np


def random_variables(module, *inputs):
    """Parameters of both signs, norms' scales too, and running statistics of 1."""
    init = functools.partial(module.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: rng.normal(scale=0.4, size=p.shape).astype(p.dtype), variables["params"])
    stats = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), variables.get("batch_stats", {}))
    return jax.device_put({"params": params, "batch_stats": stats})
