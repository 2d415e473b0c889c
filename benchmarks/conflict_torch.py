"""`--conflict`: cosines of per-sample gradients in PyTorch, as research code writes them."""

from collections.abc import Callable

import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # no requirement
from jax import tree

from benchmarks import with_torch
from benchmarks.conflict_inputs import Inputs
from benchmarks.contenders import CLASSES, CONTENDERS, Setting
from reference import weights  # pyright: ignore[reportMissingImports]  # it needs torch
from smdsb_jax.config import Config
from smdsb_jax.pretext.defrec import Prepared
from smdsb_jax.state import Tree


def build(setting: Setting, config: Config, inputs: Inputs) -> Callable[[Prepared], np.ndarray]:
    """The cosines [2, batch] of a mini-batch's samples: one loss, one backward pass at a time."""
    reference = with_torch.build(config, CONTENDERS["torch eager"], CLASSES, inputs.variables, setting)
    reference.model.eval()
    names = [name for name, _ in reference.model.named_parameters() if name.startswith("encoder.")]
    directions = [flatten(tree.map(lambda leaf, d=d: leaf[d], inputs.directions), names) for d in range(2)]
    directions = torch.stack(directions).to(reference.device)
    parameters = dict(reference.model.named_parameters())
    scale = config.pretext.weight * config.pretext.scale

    def measure(prepared: Prepared) -> np.ndarray:
        clouds = [torch.as_tensor(np.array(leaf)).to(reference.device) for leaf in prepared]
        found = []
        for i in range(len(prepared.points)):
            points, deformed, mask = (leaf[i : i + 1] for leaf in clouds)
            reference.model.zero_grad()
            loss = scale * reference.chamfer(points, reference.reconstruct(deformed), mask)
            loss.sum().backward()
            own = torch.cat([parameters[name].grad.flatten() for name in names])
            found.append(torch.cosine_similarity(directions, own[None, :], dim=1))
        return torch.stack(found, dim=1).cpu().numpy()

    return measure


def flatten(direction: Tree, names: list[str]) -> torch.Tensor:
    """A tree of the encoder's parameters as one vector, in PyTorch's order."""
    named = {}
    for path, name, leaf in weights.named_leaves({"encoder": direction}):
        value = torch.as_tensor(np.array(leaf))
        named[name] = (value.T if path[-1] == "kernel" else value).flatten()
    return torch.cat([named[name] for name in names])
