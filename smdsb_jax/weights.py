"""Variables in a file of safetensors: arrays by their paths, with what they are of as text.

`params/encoder/edge1/kernel` is a name; the files hold nothing that could run. [https://github.com/huggingface/safetensors]
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file

from smdsb_jax.files import whole_file
from smdsb_jax.registry import shown
from smdsb_jax.state import Variables

SUFFIX = ".safetensors"
KINDS = ("params", "batch_stats")


def write_weights(path: str | Path, variables: Variables, about: Mapping[str, str]) -> None:
    """Write variables, whole or not at all.

    Args:
      path: of the file.
      variables: of a network.
      about: what a reader must know of them.
    """
    flat: dict[str, Any] = flatten_dict(variables, sep="/")
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in flat.items() if not isinstance(leaf, dict)}
    with whole_file(path) as part:
        save_file(arrays, str(part), {"format": "smdsb_jax", **about})


def read_weights(path: str | Path) -> tuple[Variables, dict[str, str]]:
    """The variables of a file, and what it says of them.

    Raises:
      ValueError: no such file, a damaged one, or one of other arrays; names it.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as safetensors ({error}).") from error
    folders = {name[:i] for name in arrays for i, letter in enumerate(name) if letter == "/"}
    for name, array in arrays.items():
        if (
            name.partition("/")[0] not in KINDS
            or name.count("/") < 2
            or name in folders
            or "//" in f"{name}/"
        ):
            raise ValueError(
                f"{path}: {shown(name)} is no variable of smdsb_jax, as params/encoder/edge1/kernel is. "
                "Write the file with smdsb export, or with smdsb import of a PyTorch file."
            )
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{path}: {shown(name)} is {array.dtype}, or not finite: float32 is needed.")
    trees: Variables = unflatten_dict(arrays, sep="/")
    return {kind: trees.get(kind, {}) for kind in KINDS}, about
