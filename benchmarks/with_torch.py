"""All that needs PyTorch: its precision, and a contender's model. Imported where a torch contender runs."""

from typing import Any

import torch  # pyright: ignore[reportMissingImports]  # no requirement

import reference  # pyright: ignore[reportMissingImports]  # it needs torch
from benchmarks.contenders import Contender, Setting
from smdsb_jax.config import Config
from smdsb_jax.state import Variables

PRECISIONS = {"highest": "float32", "high": "tensorfloat32", "medium": "bfloat16"}


def build(
    config: Config, contender: Contender, classes: int, variables: Variables, setting: Setting, seed: int = 0
) -> Any:
    """The reference's step from these weights, at the setting's threads, precision and device."""
    torch.manual_seed(seed)
    torch.set_num_threads(setting.threads)
    set_precision(setting.precision)
    return reference.make_step(
        config, classes, variables, stage=setting.stage, device=device_of(setting), **contender.options
    )


def device_of(setting: Setting) -> str:
    """PyTorch's name of the device."""
    return {"cpu": "cpu", "gpu": "cuda"}[setting.device]


def set_precision(precision: str) -> None:
    """Of matrix products and of convolutions, which PyTorch sets apart."""
    torch.set_float32_matmul_precision({value: name for name, value in PRECISIONS.items()}[precision])
    torch.backends.cudnn.allow_tf32 = precision != "float32"


def precision_of(device: str) -> str:
    """What PyTorch says it computes in; convolutions on a GPU may differ from products."""
    products = PRECISIONS[torch.get_float32_matmul_precision()]
    tf32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    if device == "cuda" and tf32 != (products != "float32",) * 2:
        return f"{products}, but allow_tf32 = {tf32[0]} for products and {tf32[1]} for convolutions"
    return products


def wait(device: str) -> None:
    """Until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: str) -> int:
    """The most GPU memory that arrays have held; 0 on a CPU, where PyTorch does not count."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else 0


def device_facts(device: str) -> tuple[str, int]:
    """Name and free bytes; 0 on a CPU."""
    return (torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0]) if device == "cuda" else ("cpu", 0)
