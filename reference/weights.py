"""Variables of `smdsb_jax`, as a tree of numpy arrays, to PyTorch modules and back.

A kernel [in, out] is a weight [out, in], with axes of length 1 behind it in a convolution. The layers that
`smdsb_jax` merges with what precedes them (edge convolutions, the first layer of DefRec's head) have their
kernel beside the norm; here it is that of the block's `dense`.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Tree = dict[str, Any]
LEAVES = {"kernel": "weight", "bias": "bias", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def torch_name(path: tuple[str, ...], beside_norm: bool) -> str:
    """The parameter or buffer of `Network` that holds the leaf at this path of a collection."""
    *owner, leaf = path
    if beside_norm:
        owner.append("dense")
    if owner[0] == "pretext" and owner[1] in ("dense", "norm"):
        owner.insert(1, "conv1")
    return ".".join((*owner, LEAVES[leaf]))


def named_leaves(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, np.ndarray]]:
    """(path, PyTorch name, leaf) of one collection (`params` or `batch_stats`)."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from named_leaves(value, (*path, key))
        else:
            yield (*path, key), torch_name((*path, key), key == "kernel" and "norm" in tree), value


def load(model: nn.Module, variables: Tree) -> None:
    """Copy the variables into the model.

    Raises:
      ValueError: the model has other parameters, or others of the same name but another shape.
    """
    state = {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: (path, leaf) for tree in variables.values() for path, name, leaf in named_leaves(tree)}
    _check_names("The variables", state.keys(), given.keys())
    for name, (path, leaf) in given.items():
        value = torch.as_tensor(np.array(leaf))
        value = value.T if path[-1] == "kernel" else value
        if value.numel() != state[name].numel() or value.shape[0] != state[name].shape[0]:
            raise ValueError(f"{'/'.join(path)} is {list(leaf.shape)}, {name} is {list(state[name].shape)}.")
        with torch.no_grad():
            state[name].copy_(value.reshape(state[name].shape))


def _check_names(what: str, wanted: Collection[str], found: Collection[str]) -> None:
    missing, unexpected = sorted({*wanted} - {*found}), sorted({*found} - {*wanted})
    if missing or unexpected:
        raise ValueError(f"{what} are of another network: missing {missing}, unexpected {unexpected}.")


def export(like: Tree, find: Callable[[str], Tensor]) -> Tree:
    """A collection of numpy arrays in the layout of `like`; `find` gives the tensor of a PyTorch name."""
    out: Tree = {}
    for path, found, _ in named_leaves(like):
        inner = out
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        value = find(found).detach().cpu().numpy().copy()  # the next step changes the tensor in place
        inner[path[-1]] = value.reshape(value.shape[:2]).T if path[-1] == "kernel" else value
    return _fill_empty(like, out)


def _fill_empty(like: Tree, out: Tree) -> Tree:
    """Parts without leaves, such as the statistics of a head without norms, stay as empty dicts."""
    for key, value in like.items():
        if isinstance(value, dict):
            out[key] = _fill_empty(value, out.get(key, {}))
    return out


def variables_of(model: nn.Module, like: Tree) -> Tree:
    """Parameters and running statistics of a model, in the layout of `like`."""
    state = model.state_dict()
    return {kind: export(tree, state.__getitem__) for kind, tree in like.items()}


def gradients_of(model: nn.Module, like: Tree) -> Tree:
    """The parameters' gradients in the layout of `like["params"]`; zeros where nothing flowed."""
    parameters = dict(model.named_parameters())

    def gradient(name: str) -> Tensor:
        found = parameters[name]
        return torch.zeros_like(found) if found.grad is None else found.grad

    return export(like["params"], gradient)
