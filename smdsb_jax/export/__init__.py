"""A trained network in a file that other programs read: a format, a module.

What is written is the function points [batch, n, 3] -> logits [batch, classes] (of parts [batch, n, classes])
of encoder and head in inference mode; n is `config.data.points`. The softmax is the caller's, and so is what
`predict` does before: see `smdsb_jax.export.network.preprocessing`.
"""

from collections.abc import Callable
from pathlib import Path

from smdsb_jax.export.onnx import onnx
from smdsb_jax.export.safetensors import safetensors
from smdsb_jax.export.stablehlo import stablehlo
from smdsb_jax.files import whole_file
from smdsb_jax.inference import Model
from smdsb_jax.registry import lookup

FORMATS: dict[str, Callable[[Model, Path], None]] = {
    "stablehlo": stablehlo,  # the compiled function, for JAX and what runs on XLA; on CPUs and NVIDIA GPUs
    "onnx": onnx,  # for onnxruntime and the like, in any language
    "safetensors": safetensors,  # the arrays alone: to start from again, or to build the network elsewhere
}


def export(model: Model, path: str | Path, format: str) -> Path:
    """Write a model, whole or not at all.

    Args:
      model: what `smdsb_jax.load` gave.
      path: of the file.
      format: of `FORMATS`.

    Returns:
      The path.

    Raises:
      ValueError: no such format; a package is missing that it needs, or cannot write a part of the network.
    """
    write = lookup(FORMATS, format, "format")
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder. Give a file, for example {path / 'model'}.{format}.")
    with whole_file(path) as part:
        write(model, part)
    return path
