"""Find a part by its name, or a user's own by `package.module:name`; options are keyword arguments."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


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


def _import(name: str, field: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{field} = {name!r} cannot be imported ({error}). Give package.module:name, with the "
            "module's folder on PYTHONPATH."
        ) from error
