"""The compiled function, as `jax.export` serializes it."""

from pathlib import Path

import jax
from jax import export

from smdsb_jax.export.network import logits_of, one_cloud, package
from smdsb_jax.inference import Model

PLATFORMS = ("cpu", "cuda")


def stablehlo(model: Model, path: Path) -> None:
    """A module of StableHLO with the variables in it, for any number of clouds.

    `jax.export.deserialize(path.read_bytes()).call(points)` runs it without this library.
    [https://docs.jax.dev/en/latest/export/export.html]

    Raises:
      ValueError: flatbuffers is missing.
    """
    package("flatbuffers", "pip install flatbuffers")
    (batch,) = export.symbolic_shape("batch")
    cloud = one_cloud(model)
    points = jax.ShapeDtypeStruct((batch, *cloud.shape), cloud.dtype)
    exported = export.export(jax.jit(logits_of(model)), platforms=PLATFORMS)(points)
    path.write_bytes(exported.serialize())
