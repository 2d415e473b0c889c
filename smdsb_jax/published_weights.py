"""Networks that the research codes have saved in PyTorch → variables, strict about names and shapes.

The names are those of DefRec's code [Achituve et al., WACV 2021, arXiv:2003.12641]. GAST's [Zou et al., ICCV
2021] has `cls_C` for `C`, Self-distillation's [Cardace et al., WACV 2023, arXiv:2210.08226] `encoder.` before
the encoder's and `decoder.` for `C.`. PyTorch is imported here alone, and loads tensors only.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from smdsb_jax.encoders import ENCODERS
from smdsb_jax.network import Network, init_network
from smdsb_jax.pretext import PRETEXT
from smdsb_jax.registry import lookup, options, shown
from smdsb_jax.state import Variables
from smdsb_jax.tasks import TASKS

State = Mapping[str, np.ndarray]
LEAVES = {"kernel": "weight", "bias": "bias", "scale": "weight", "mean": "running_mean", "var": "running_var"}
RENAMED = {"encoder.": "", "decoder.": "C.", "cls_C.": "C."}  # other codes' prefixes → DefRec's
TOLD = 4  # names in an error
POINTS = 1024


class Imported(NamedTuple):
    """Variables, and what they are of: `config.encoder` and the task's name."""

    variables: Variables
    encoder: dict[str, Any]
    task: str
    classes: int


class Published(NamedTuple):
    """A network of those codes."""

    code: str  # whose
    task: str
    first: str  # weight, by which the network is found in a file
    layers: dict[str, str]  # ours, by path → theirs
    options: Callable[[State], dict[str, Any]]  # of our encoder, by their shapes
    pretext: Callable[[State], dict[str, Any]]  # the task whose heads come along: `name` and options, or {}
    unused: tuple[str, ...] = ()  # prefixes of what the files hold and no pass calls


def _block(ours: str, theirs: str) -> dict[str, str]:
    """A dense layer and its norm."""
    return {f"{ours}/dense": f"{theirs}.0", f"{ours}/norm": f"{theirs}.1"}


def _tnet(ours: str, theirs: str) -> dict[str, str]:
    layers = {f"{ours}/out": f"{theirs}.fc3"}
    for i in (1, 2, 3):
        layers |= _block(f"{ours}/conv{i}", f"{theirs}.conv2d{i}.conv")
    for i in (1, 2):
        layers |= _block(f"{ours}/fc{i}", f"{theirs}.fc{i}.fc")
    return layers


def _four_blocks(ours: str) -> dict[str, str]:
    return {k: v for i in (1, 2, 3, 4) for k, v in _block(f"{ours}{i}", f"conv{i}.conv").items()}


def _pointwise(ours: str, theirs: str) -> dict[str, str]:
    """DefRec's head of every point, whose first layer has no folder of its own here."""
    places = enumerate((ours, f"{ours}/conv2", f"{ours}/conv3"), start=1)
    layers = {f"{ours}/out": f"{theirs}.conv4"}
    for i, place in places:
        layers |= {f"{place}/dense": f"{theirs}.conv{i}", f"{place}/norm": f"{theirs}.bn{i}"}
    return layers


def _widths(state: State, names: Sequence[str]) -> tuple[int, ...]:
    missing = [name for name in names if name not in state]
    if missing:
        raise ValueError(f"it lacks {_listed(missing)}")
    scalars = [name for name in names if not state[name].shape]
    if scalars:
        raise ValueError(f"no weights but single numbers are {_listed(scalars)}")
    return tuple(state[name].shape[0] for name in names)


def _has(state: State, part: str) -> bool:
    return any(name.startswith(f"{part}.") for name in state)


def _dgcnn(state: State) -> dict[str, Any]:
    *layers, embedding = _widths(state, [*(f"conv{i}.conv.0.weight" for i in (1, 2, 3, 4)), "conv5.weight"])
    return {
        "input_tnet": _has(state, "input_transform_net"), "layers": tuple(layers), "embedding": embedding
    }  # fmt: skip


def _pointnet(state: State) -> dict[str, Any]:
    *layers, embedding = _widths(state, [f"conv{i}.conv.0.weight" for i in (1, 2, 3, 4, 5)])
    tnets = {"input_tnet": _has(state, "trans_net1"), "feature_tnet": _has(state, "trans_net2")}
    told = {**tnets, "layers": tuple(layers), "embedding": embedding}
    # DefRec's head has no such bias, Self-distillation's has, and another slope that no shape tells
    return told | {"negative_slope": 0.01, "head_bias": True} if "C.mlp1.fc.0.bias" in state else told


def _dgcnn_segmentation(state: State) -> dict[str, Any]:
    *layers, embedding = _widths(state, [f"shared_layers.conv{i}.weight" for i in (1, 3, 5, 6)])
    tnet = _has(state, "input_transform_net")
    return {"input_tnet": tnet, "layers": tuple(layers), "embedding": embedding}


def _dgcnn_gast(state: State) -> dict[str, Any]:
    names = [*(f"conv{i}.conv.0.weight" for i in (1, 2, 3, 4)), "conv5.weight", "conv1.conv.1.weight"]
    *layers, half, _ = _widths(state, names)
    told = {"layers": tuple(layers), "embedding": 2 * half}
    of_norm = state[names[-1]].shape
    if len(of_norm) != 3:
        return told | {"norm": "batch"}
    return told | {"norm": "layer_released", "points": of_norm[1], "k": of_norm[2]}


def _defrec(state: State) -> dict[str, Any]:
    return {"name": "defrec"} if _has(state, "DefRec") else {}


def _defrec_with_biases(state: State) -> dict[str, Any]:
    return _defrec(state) and {"name": "defrec", "head_bias": True}


def _gast(state: State) -> dict[str, Any]:
    weights = {
        "rotation_weight": float(_has(state, "rotcls_C1") or _has(state, "rotcls_C2")),
        "distortion_weight": float(_has(state, "defcls_C")),
    }
    return {"name": "gast", **weights} if any(weights.values()) else {}


HEAD = _block("head/fc1", "C.mlp1.fc") | _block("head/fc2", "C.mlp2.fc") | {"head/out": "C.mlp3"}
REBUILT = _pointwise("pretext", "DefRec")
ANGLES_AND_CELL = {  # turns of the first part, of the other one, and the cell
    "pretext/about_x": "rotcls_C1.mlp1", "pretext/about_y": "rotcls_C2.mlp1", "pretext/cell": "defcls_C.mlp1",
}  # fmt: skip
LINEAR_EDGES = ("edge1/dense1", "edge1/dense2", "edge2/dense1", "edge2/dense2", "edge3/dense1", "agg/dense")
PUBLISHED = {
    "dgcnn": Published(
        "DefRec",
        "classification",
        "conv1.conv.0.weight",
        {
            **_tnet("encoder/tnet", "input_transform_net"), **_four_blocks("encoder/edge"),
            "encoder/agg/dense": "conv5", "encoder/agg/norm": "bn5", **HEAD, **REBUILT,
        },
        _dgcnn,
        _defrec,
    ),
    "dgcnn_gast": Published(
        "GAST",
        "classification",
        "conv1.conv.0.weight",
        {
            **_four_blocks("encoder/edge"), "encoder/agg/dense": "conv5", "encoder/agg/norm": "bn5",
            **HEAD, **ANGLES_AND_CELL,
        },
        _dgcnn_gast,
        _gast,
        unused=("input_transform_net",),
    ),
    "pointnet": Published(
        "DefRec",
        "classification",
        "conv1.conv.0.weight",
        {
            **_tnet("encoder/tnet1", "trans_net1"), **_tnet("encoder/tnet2", "trans_net2"),
            **_four_blocks("encoder/conv"), **_block("encoder/agg", "conv5.conv"), **HEAD, **REBUILT,
        },
        _pointnet,
        _defrec,
    ),
    "dgcnn_segmentation": Published(
        "DefRec",
        "segmentation",
        "shared_layers.conv1.weight",
        {
            **_tnet("encoder/tnet", "input_transform_net"),
            **{f"encoder/{ours}": f"shared_layers.conv{i}" for i, ours in enumerate(LINEAR_EDGES, start=1)},
            **_pointwise("head", "seg"), **REBUILT,
        },
        _dgcnn_segmentation,
        _defrec_with_biases,
    ),
}  # fmt: skip


def import_weights(
    path: str | Path, encoder: str, *, k: int | None = None, part: str = "", ignore: Sequence[str] = ()
) -> Imported:
    """The network in a file of PyTorch.

    Args:
      path: what `torch.save` wrote: a state dict, or dicts that hold one, as Lightning's files.
      encoder: of `PUBLISHED`.
      k: neighbors of DGCNN, where no shape tells; None: 20.
      part: which of several networks in the file, as `ema` of `net` and `ema`.
      ignore: prefixes of names to leave out, as `rotcls_C1`.

    Raises:
      ValueError: no such file or encoder, a file that holds more than tensors, or another network; names the
        file, and the names or shapes that do not fit.
    """
    published = lookup(PUBLISHED, encoder, "--encoder")
    path = Path(path).expanduser()
    tensors = read_tensors(path)
    try:
        state = _own(tensors, published.first, part)
        left_out = (*published.unused, *ignore)
        state = {name: array for name, array in state.items() if not _ignored(name, left_out)}
        told = _with_neighbors(encoder, published.options(state), k)
        out = published.layers["head/out"] + ".weight"
        (classes,) = _widths(state, [out])
        like = variables_like(encoder, told, published.task, classes, published.pretext(state))
        variables = renamed(state, like, published.layers)
    except ValueError as error:
        raise ValueError(
            f"{path} is no {encoder} of {published.code}'s code: {error}. Take another --encoder or --part, "
            "leave further heads out with --ignore PREFIX, or see docs/export.md for what cannot be imported."
        ) from error
    return Imported(variables, {"name": encoder, **told}, published.task, classes)


def _with_neighbors(encoder: str, told: dict[str, Any], k: int | None) -> dict[str, Any]:
    """The encoder's options with its neighbors, if it has any: by its shapes, as given, or its default."""
    default = options(ENCODERS[encoder]).get("k")
    if default is None:
        return told
    if "k" in told and k not in (None, told["k"]):
        raise ValueError(f"its shapes are of k = {told['k']} neighbors, and k = {k} is given")
    return {"k": default if k is None else k} | told


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file by name, those of inner dicts behind that dict's: `net.encoder.conv5.weight`.

    Raises:
      ValueError: no such file, one that holds more than tensors, or PyTorch is not installed.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ValueError(f"{path}: PyTorch reads this file: pip install torch.") from error
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a pickle of anything makes it raise
        said = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{path}: not loaded, for it is damaged or holds more than tensors, which could run code "
            f"({said}). Save the state dict alone: torch.save(model.state_dict(), path)."
        ) from error
    return {name: value.float().numpy() for name, value in _tensors(found, torch.Tensor)}


def _tensors(found: Any, kind: type, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(found, kind):
        yield name, found
    elif isinstance(found, Mapping):
        for key, value in found.items():
            yield from _tensors(value, kind, f"{name}.{key}" if name else str(key))


def _own(tensors: State, first: str, part: str) -> State:
    """The tensors of one network under DefRec's names."""
    roots = {name.removesuffix(first) for name in tensors if name == first or name.endswith(f".{first}")}
    roots = {root.removesuffix("encoder.") for root in roots}
    chosen = sorted(root for root in roots if not part or part in root.split("."))
    if not chosen:
        raise ValueError(f"it lacks {part + '.' if part else ''}{first}; it has {_listed(sorted(tensors))}")
    if len(chosen) > 1:
        raise ValueError(f"it holds several networks: {', '.join(map(shown, chosen))}; choose with --part")
    own = {}
    for name, array in tensors.items():
        if name.startswith(chosen[0]) and not name.endswith("num_batches_tracked"):
            name = name.removeprefix(chosen[0])
            before = next((p for p in RENAMED if name.startswith(p)), "")
            own[RENAMED.get(before, "") + name.removeprefix(before)] = array
    return own


def _ignored(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def variables_like(
    encoder: str, fields: Mapping[str, Any], task: str, classes: int, pretext: Mapping[str, Any]
) -> Variables:
    """The shapes of the variables of a network, with the heads of a pretext task, if one is given."""
    module, of_task = ENCODERS[encoder](**fields), TASKS[task]()
    count = fields.get("points", POINTS)
    module.check(count)
    network = Network(module, of_task.head(module, classes, 0.0), of_task)

    def start() -> Variables:
        points = jax.ShapeDtypeStruct((2, count, 3), jnp.float32)
        variables = init_network(network, jax.random.key(0), points)
        if not pretext:
            return variables
        own = {kind: trees["encoder"] for kind, trees in variables.items()}
        features = jax.eval_shape(lambda points: module.apply(own, points, train=False), points)
        make = PRETEXT[pretext["name"]]
        heads, _ = make(**{name: value for name, value in pretext.items() if name != "name"}).init(
            jax.random.key(0), features, variables
        )
        return {kind: trees | {"pretext": heads.get(kind, {})} for kind, trees in variables.items()}

    return jax.eval_shape(start)


def renamed(state: State, like: Variables, layers: Mapping[str, str]) -> Variables:
    """Variables of the shapes `like` from a state dict; `layers` names each layer in it.

    Raises:
      ValueError: names that are missing or left over, or other shapes.
    """
    flat: dict[str, Any] = flatten_dict(like, sep="/", keep_empty_nodes=True)
    names = {path: _name(path, layers) for path, leaf in flat.items() if hasattr(leaf, "shape")}
    missing, unexpected = sorted({*names.values()} - {*state}), sorted({*state} - {*names.values()})
    if missing or unexpected:
        told = [f"{word} {_listed(n)}" for word, n in (("missing", missing), ("unexpected", unexpected)) if n]
        further = {*_parts(unexpected)} - {*_parts(names.values())}
        if further and not missing and len(further) <= 2 * TOLD:
            told.append(
                f"{' '.join(f'--ignore {part}' for part in sorted(further))} leaves out further heads"
            )
        raise ValueError("its names are of another network: " + "; ".join(told))
    found = dict(flat)
    for path, name in names.items():
        array = state[name]
        if path.endswith("/kernel") and array.ndim >= 2 and array.shape[2:] == (1,) * (array.ndim - 2):
            array = array.reshape(array.shape[:2]).T
        elif "/norm/" in path and array.ndim == 3:  # of every channel, point and neighbor
            array = np.moveaxis(array, 0, -1)
        if array.shape != flat[path].shape:
            shapes = list(state[name].shape), list(flat[path].shape)
            raise ValueError(f"{name} is {shapes[0]}, {path.partition('/')[2]} is {shapes[1]}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        found[path] = np.ascontiguousarray(array, np.float32)
    return unflatten_dict(found, sep="/")


def _parts(names: Iterable[str]) -> Iterator[str]:
    """Of the network that has these entries of its state dict, so far as a command line can name them."""
    return filter(str.isidentifier, (name.partition(".")[0] for name in names))


def _name(path: str, layers: Mapping[str, str]) -> str:
    """The entry of a state dict for `params/encoder/edge1/kernel`, a kernel beside its layer's norm."""
    owner, _, leaf = path.partition("/")[2].rpartition("/")
    return f"{layers.get(f'{owner}/dense') or layers[owner]}.{LEAVES[leaf]}"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no tensors"
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(map(shown, names[:TOLD])) + more
