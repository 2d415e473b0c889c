"""The variables by their paths."""

from pathlib import Path

from smdsb_jax.export.network import about
from smdsb_jax.inference import Model
from smdsb_jax.weights import write_weights


def safetensors(model: Model, path: Path) -> None:
    """All variables, the pretext task's heads among them, as `config.init_from` reads them.

    The file's metadata tell encoder, task, classes and preprocessing.
    [https://huggingface.co/docs/safetensors]
    """
    write_weights(path, model.variables, about(model))
