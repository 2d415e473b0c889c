"""What every format is written of: the network as a function of points, and what a reader must know of it."""

import functools
import importlib
import json
from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.inference import Model, scales
from smdsb_jax.network import predict

Logits = Callable[[Float[Array, "batch n 3"]], Float[Array, "batch *n classes"]]


def logits_of(model: Model) -> Logits:
    """Points -> logits by running statistics, at the precision of the run; the variables are constants."""

    def logits(points: Float[Array, "batch n 3"]) -> Float[Array, "batch *n classes"]:
        output, _, _ = predict(model.network, model.variables, points)
        return model.network.task.logits(output)

    return jax.default_matmul_precision(model.config.matmul_precision)(logits)


def one_cloud(model: Model) -> jax.ShapeDtypeStruct:
    """The points of a cloud that the network gets."""
    return jax.ShapeDtypeStruct((model.config.data.points, 3), jnp.float32)


def about(model: Model) -> dict[str, str]:
    """What a reader must know, as text: encoder, task, classes and what stands in lists or dicts as JSON."""
    config = model.config
    return {
        "encoder": json.dumps(config.encoder.to_dict()),
        "task": json.dumps(config.task.to_dict()),
        "classes": json.dumps(model.classes),
        "points": str(config.data.points),
        "preprocessing": preprocessing(model),
        "stage": str(model.stage),
        "step": str(model.step),
    }


def preprocessing(model: Model) -> str:
    """What the caller must do with a cloud before, as `smdsb_jax.predict` does."""
    data = model.config.data
    steps = ["float32, z up"]
    if scales(model):
        steps += ["minus the mean of all points", "divided by the largest distance to it"]
    else:
        steps += ["in the unit of the training data"]
    how = {"fps": "by farthest point sampling", "uniform": "drawn without replacement", "first": "the first"}
    steps += [f"{data.points} points, {how.get(data.subsample, data.subsample)}; fewer are repeated in order"]
    return "; ".join(steps)


@functools.cache
def package(name: str, remedy: str) -> ModuleType:
    """A package that only one format needs.

    Raises:
      ValueError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"This needs the package {name} ({error}): {remedy}") from error
