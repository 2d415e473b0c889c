"""ONNX, by jax2onnx from a plain form of the network."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jax.interpreters import partial_eval
from jaxtyping import Array, Float

from smdsb_jax.export.network import about, logits_of, one_cloud, package
from smdsb_jax.inference import Model
from smdsb_jax.jaxprs import scan_inputs

OPSET = 18
# jax2onnx asks for an older Orbax, which it does not import
INSTALL = "pip install onnx onnx-ir && pip install --no-deps jax2onnx==0.17.1"
CALLS = ("jit", "custom_vmap_call", "custom_jvp_call", "custom_vjp_call", "closed_call")  # run what they hold


def onnx(model: Model, path: Path) -> None:
    """A graph with the input `points` [batch, n, 3] and the output `logits`, a loop over the clouds.

    Its metadata are those of the format safetensors.   [https://onnx.ai; https://github.com/enpasos/jax2onnx]

    Raises:
      ValueError: a package is missing, or jax2onnx has no word for an operation of a network of one's own.
    """
    package("onnx", INSTALL)
    converter = package("jax2onnx", INSTALL)
    cloud = one_cloud(model)
    of_batch = logits_of(model)
    of_one = plain(lambda points: of_batch(points[None])[0], cloud)
    try:
        with _quiet("onnx_ir", "jax2onnx"):
            graph: Any = converter.to_onnx(
                lambda points: jax.lax.map(of_one, points),
                inputs=[("batch", *cloud.shape)],
                model_name="smdsb_jax",
                opset=OPSET,
                input_names=["points"],
                output_names=["logits"],
            )
    except NotImplementedError as error:
        raise ValueError(f"This network cannot be written as ONNX: {error} Take stablehlo.") from error
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    drop_unused(graph.graph)
    for key, value in about(model).items():
        graph.metadata_props.add(key=key, value=value)
    path.write_bytes(graph.SerializeToString())


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Without what these packages log: of types in loops, and of examples that they cannot import."""
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def plain(
    function: Callable[[Array], Array], cloud: jax.ShapeDtypeStruct
) -> Callable[[Float[Array, "n 3"]], Array]:
    """The same function of operations that any converter knows.

    Of kernels by platform (`geometry/per_sample.py`) it has the form for accelerators, which is made of
    standard operations; calls are gone, and so is what only a derivative needs.
    """
    traced = jax.make_jaxpr(function)(cloud)
    inlined = jax.make_jaxpr(lambda points: _run(traced, points))(cloud)
    live, _ = partial_eval.dce_jaxpr(inlined.jaxpr, [True], instantiate=True)
    run = jaxpr_as_fun(ClosedJaxpr(live, inlined.consts))
    return lambda points: run(points)[0]


def _run(closed: Any, *arguments: Any) -> list[Any]:
    """Evaluate, with what is called in its place."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        given = [v.val if isinstance(v, Literal) else values[v] for v in equation.invars]
        values |= dict(zip(equation.outvars, _run_one(equation, given), strict=True))
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _run_one(equation: Any, given: list[Any]) -> list[Any]:
    name, options = equation.primitive.name, equation.params
    if name == "platform_index":  # which branch of a `cond` runs: the one that is for no platform by name
        return [next(i for i, platforms in enumerate(options["platforms"]) if platforms is None)]
    if name == "cond" and isinstance(given[0], int):
        return _run(options["branches"][given[0]], *given[1:])
    if name == "per_sample_linear":
        return _run(jax.make_jaxpr(options["kernel"])(*given), *given)
    if name in CALLS:
        return _run(options.get("jaxpr") or options.get("call_jaxpr") or options["call"], *given)
    if name == "scan":
        return _run_scan(options, given)
    out = equation.primitive.bind(*given, **options)
    return out if equation.primitive.multiple_results else [out]


def _run_scan(options: dict[str, Any], given: list[Any]) -> list[Any]:
    constants, start, rows = scan_inputs(options, given)

    def turn(carry: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        out = _run(options["jaxpr"], *constants, *carry, *row)
        return out[: len(start)], out[len(start) :]

    carry, out = jax.lax.scan(turn, start, rows, options["length"], options["reverse"])
    return [*carry, *out]


def drop_unused(graph: Any) -> None:
    """Remove constants that nothing reads, at every depth: onnxruntime warns of each."""
    for inner in _subgraphs(graph):
        drop_unused(inner)
    used = set(_names_read(graph))
    unused = [constant for constant in graph.initializer if constant.name not in used]
    for constant in unused:
        graph.initializer.remove(constant)


def _subgraphs(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g


def _names_read(graph: Any) -> Iterator[str]:
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
    for inner in _subgraphs(graph):
        yield from _names_read(inner)
