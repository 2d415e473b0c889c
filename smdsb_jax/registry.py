"""Find a part by its name, or a user's own by `package.module:name`; its options, their types and ranges."""

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def lookup(catalogue: Mapping[str, T], name: str, field: str) -> T:
    """`catalogue[name]`, or the object that `package.module:name` imports.

    Raises:
      ValueError: no such entry; the message lists the known names and the nearest one.
    """
    if ":" in name:
        return _import(name, field)
    if name not in catalogue:
        raise ValueError(f"{field} = {name!r} is not known.{suggest(name, catalogue)}")
    return catalogue[name]


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …? Known: …`, for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return (f" Did you mean {close[0]!r}?" if close else "") + f" Known: {', '.join(names)}."


def options(entry: Callable[..., Any]) -> dict[str, Any]:
    """The options of an entry and their defaults: its keyword arguments that have one.

    A Linen module's own fields `parent` and `name` are no options.
    """
    parameters = inspect.signature(entry).parameters.values()
    return {
        p.name: p.default for p in parameters if p.default is not p.empty and p.name not in ("parent", "name")
    }


def check_type(field: str, value: Any, default: Any) -> None:
    """Refuse a value of another type than the default's, or one that is not finite; in tuples each member.

    Raises:
      ValueError: names the field of the configuration, as `pretext.radius`.
    """
    several = isinstance(default, tuple)
    kind = type((default or (0.0,))[0] if several else default)
    if kind not in KINDS:  # a user's own entry may take anything
        return
    values = value if several else (value,)
    if not isinstance(values, tuple | list) or not all(_is(v, kind) for v in values):
        raise ValueError(
            f"config.{field} = {value!r}: give {'a tuple, each member ' if several else ''}{KINDS[kind]}."
        )


def check_range(field: str, value: int | float, low: int | float, high: int | float) -> None:
    """Refuse a value outside [low, high], and NaN.

    Raises:
      ValueError: names the field of the configuration, as `pretext.radius`.
    """
    if not low <= value <= high:
        raise ValueError(f"config.{field} = {value}: between {low} and {high}.")


def check_counts(field: str, value: int | tuple[int, ...], least: int = 1) -> None:
    """Refuse a number of something, or one of a tuple of them, below `least`, and an empty tuple.

    Raises:
      ValueError: names the field of the configuration, as `encoder.layers`.
    """
    several = isinstance(value, tuple | list)
    counts = value if isinstance(value, tuple | list) else (value,)
    if not counts or any(count < least for count in counts):
        wanted = "one or more numbers of" if several else "give"
        raise ValueError(f"config.{field} = {value!r}: {wanted} at least {least}.")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:  # to Python, True is an int
        return isinstance(value, bool) and kind is bool
    return (
        isinstance(value, int | float) and math.isfinite(value) if kind is float else isinstance(value, kind)
    )


def _import(name: str, field: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{field} = {name!r} cannot be imported ({error}). Give package.module:name, with the "
            "module's folder on PYTHONPATH."
        ) from error
