"""The PyTorch reference: what `smdsb_jax` is compared with, in numbers (tests) and in time (benchmarks).

Two variants of one step: as published research code writes it (`models.py`), and with all of the algebra
that the library uses (`factorised.py`). Needs PyTorch (`pip install torch`); the library never imports it.
"""

from typing import Any

import torch

from reference.step import Deform, Measured, Reference


def make_step(
    config: Any,
    classes: int,
    variables: dict[str, Any],
    *,
    stage: int = 1,
    factorised: bool = False,
    compiled: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    deform: Deform | None = None,
    dropout: bool = True,
) -> Reference:
    """A model with the given weights and its train step.

    Args:
      config: a resolved configuration (`smdsb_jax.resolve`); `config.augment` is the caller's.
      classes: number of classes.
      variables: `jax.device_get(state.variables)`.
      stage: 1 or 2; which schedule length, and whether batches have target labels.
      factorised: the library's algebra and one backward pass for parameters and saliency; else eager
        research code with a second `torch.autograd.grad` for the saliency.
      compiled: run the networks under `torch.compile`; needs a C++ compiler on a CPU.
      dtype: of parameters and points.
      device: a PyTorch device. Its matrix precision is PyTorch's global setting.
      deform: replaces DefRec's random deformation, clouds [batch, n, 3] -> (deformed, mask [batch, n]).
      dropout: False turns it off whatever the configuration says.

    Raises:
      ValueError: the configuration asks for what the reference does not have, or other variables.
    """
    return Reference(
        config,
        classes,
        variables,
        stage=stage,
        factorised=factorised,
        compiled=compiled,
        dtype=dtype,
        device=device,
        deform=deform,
        dropout=dropout,
    )


__all__ = ["Measured", "Reference", "make_step"]
