"""Which operation of a program first makes a NaN: what `config.debug_nans` says when a step has one."""

import functools
import site
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from smdsb_jax.jaxprs import scan_inputs

LIBRARIES = tuple({*site.getsitepackages(), sysconfig.get_paths()["stdlib"]})  # whose lines are no user's


class _FirstNanError(Exception):
    """Found: its text says which operation and where."""


def has_nan(tree: Any) -> bool:
    """Whether a number of a tree of arrays is NaN."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact)]
    return any(bool(jnp.isnan(leaf).any()) for leaf in floats)


def first_nan(function: Callable[..., Any], *args: Any) -> str:
    """The first operation that makes a NaN of numbers: its primitive and the line that asked for it.

    A NaN that is meant, as a constant, is no operation's; one that a mask leaves out later on is named all
    the same. Gradients name the line of what they are the gradient of. Operations run one by one: slow.

    Returns:
      As `div at smdsb_jax/statistics/mine.py:12 (mine)`; empty where no operation makes one.
    """
    closed = jax.make_jaxpr(function)(*args)
    try:
        _run(closed, jax.tree.leaves(args))
    except _FirstNanError as found:
        return str(found)
    return ""


def _run(closed: ClosedJaxpr, args: Sequence[Any], within: str = "an unknown line") -> list[Any]:
    """Its results, one operation after the other; `within` is the line of the operation that it is of.

    Raises:
      _FirstNanError: one makes a NaN of numbers.
    """
    jaxpr, variables = closed.jaxpr, (*closed.jaxpr.constvars, *closed.jaxpr.invars)
    known: dict[Any, Any] = dict(zip(variables, (*closed.consts, *args), strict=True))
    left = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if not isinstance(var, Literal)}
    for i, eqn in enumerate(jaxpr.eqns):
        given = [var.val if isinstance(var, Literal) else known[var] for var in eqn.invars]
        bound: Any = eqn.primitive.get_bind_params(eqn.params)
        functions, params = bound if isinstance(bound, tuple) else ((), bound)  # before jax 0.10 a pair
        found = eqn.primitive.bind(*functions, *given, **params)
        found = found if eqn.primitive.multiple_results else [found]
        if has_nan(found) and not has_nan(given):
            line = _line(eqn) or within
            _look_into(eqn, given, line)
            raise _FirstNanError(f"{eqn.primitive.name} at {line}")
        known |= dict(zip(eqn.outvars, found, strict=True))
        for var in {var for var in eqn.invars if not isinstance(var, Literal)} - set(jaxpr.outvars):
            if left[var] == i:  # nothing reads it any more
                del known[var]
    return [var.val if isinstance(var, Literal) else known[var] for var in jaxpr.outvars]


def _look_into(eqn: JaxprEqn, given: list[Any], line: str) -> None:
    """The operations of one that is made of others; a loop turn by turn."""
    params, run = eqn.params, functools.partial(_run, within=line)
    if eqn.primitive.name == "scan":
        constants, state, rows = scan_inputs(params, given)
        turns = range(params["length"])
        for turn in reversed(turns) if params["reverse"] else turns:
            own = [of_turn[turn] for of_turn in rows]
            state = run(params["jaxpr"], [*constants, *state, *own])[: len(state)]
    elif eqn.primitive.name == "cond":
        run(params["branches"][int(given[0])], given[1:])
    else:
        for inner in (value for value in params.values() if isinstance(value, ClosedJaxpr)):
            if len(inner.jaxpr.invars) == len(given):
                run(inner, given)


def _line(eqn: JaxprEqn) -> str:
    """File, line and function of the innermost call that is not of a library."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith(LIBRARIES):
            path = Path(frame.file_name)
            where = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            return f"{where}:{frame.line_num} ({frame.function_name})"
    return ""


def nan_step(compiled: Callable[..., Any], step: Callable[..., Any], stage: int) -> Callable[..., Any]:
    """A step after which a NaN in variables or metrics ends the run, by the operation's name.

    Args:
      compiled: (state, batch, scores) -> (state, metrics), which leaves its arguments for a second run.
      step: the same, not compiled: it runs a second time on one device.
      stage: for the message.
    """

    def checked(state: Any, batch: Any, scores: Any) -> tuple[Any, Any]:
        after, metrics = compiled(state, batch, scores)
        if has_nan((after.variables, metrics)):
            mesh = jax.make_mesh((1,), ("alone",), (AxisType.Auto,), devices=jax.local_devices()[:1])
            with jax.set_mesh(mesh):
                given = jax.device_put((state, batch, scores), NamedSharding(mesh, PartitionSpec()))
                named = first_nan(step, *given)
                source = "what the step is given" if has_nan(given) else "the compiled step alone"
            first = named or f"{source}, not of an operation"
            raise FloatingPointError(
                f"Stage {stage}, step {int(state.step) + 1}: the first NaN is of {first}."
            )
        return after, metrics

    return checked
