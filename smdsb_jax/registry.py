"""Find a part by its name, or a user's own by `package.module:name`; its options, their types and ranges.

Code is imported because a user names it, never because a file does: `refuse_foreign`.
"""

import difflib
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
LARGEST = {int: 2**31 - 1, float: 3.4e38}  # of int32 and float32, in which a step computes
MOST = 2**20  # of anything that is counted: more fits into no memory
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # ends lines, or is no UTF-8
LONGEST = 1800  # letters of an error
SHOWN, LISTED = 100, 80  # letters of a wrong value in an error, and known names


class Kind(NamedTuple):
    """What a user's own object must be, before anything calls it."""

    words: str  # "a Python function"
    fits: Callable[[Any], bool]


def subclass_of(base: type) -> Kind:
    """A class derived from `base`."""
    return Kind(
        f"a class derived from {base.__module__}.{base.__name__}",
        lambda found: isinstance(found, type) and issubclass(found, base),
    )


def function_returning(result: type) -> Kind:
    """A Python function whose annotation says that it returns `result`."""

    def fits(found: Any) -> bool:
        if not FUNCTION.fits(found):
            return False
        try:
            returned = typing.get_type_hints(found).get("return")
        except (NameError, TypeError, AttributeError, SyntaxError):  # a string that says nothing here
            return False
        return isinstance(returned, type) and issubclass(returned, result)

    return Kind(f"a Python function annotated as `-> {result.__name__}`, of {result.__module__}", fits)


# also one that a decorator as jax.jit has wrapped
FUNCTION = Kind("a Python function", lambda found: inspect.isfunction(inspect.unwrap(found)))


def lookup(catalogue: Mapping[str, T], name: str, field: str, own: Kind | None = None) -> T:
    """`catalogue[name]`, or the object that `package.module:name` imports where it is of the kind `own`.

    Args:
      catalogue: what there is.
      name: of an entry.
      field: of the configuration, or a flag, for the message.
      own: what a user's own entry must be; None: there are only those of the catalogue.

    Raises:
      ValueError: no such entry; the message lists the known names and the nearest one. Or what was imported
        is of another kind; it was not called.
    """
    if own is not None and ":" in name:
        found = _import(name, field)
        if not own.fits(found):
            raise ValueError(f"{field} = {shown(name)} is a {type(found).__name__}; it must be {own.words}.")
        return found
    if name not in catalogue:
        raise ValueError(f"{field} = {shown(name)} is not known.{suggest(name, catalogue)}")
    return catalogue[name]


def foreign_names(config: Any, path: str = "config") -> dict[str, str]:
    """`{"config.encoder.name": "my_module:MyEncoder"}`: what a configuration names outside the library."""
    found: dict[str, str] = {}
    for field, value in config.items():
        if hasattr(value, "items"):
            found |= foreign_names(value, f"{path}.{field}")
        elif field in ("name", "statistic") and ":" in str(value):
            found[f"{path}.{field}"] = str(value)
    return found


def refuse_foreign(config: Mapping[str, Any], allow: Collection[str], where: str) -> None:
    """Refuse a configuration from a file that names code from outside the library.

    Loading a checkpoint must not run what whoever wrote it likes; a user's own code is named again by the
    user who loads it.

    Args:
      config: as it was saved.
      allow: `package.module:name` of what may be imported.
      where: the run, for the message.

    Raises:
      ValueError: names each such field, and the remedy.
    """
    allowed = set(allow)
    refused = {field: name for field, name in foreign_names(config).items() if name not in allowed}
    if refused:
        named = ", ".join(f"{field} = {name!r}" for field, name in refused.items())
        names = sorted(set(refused.values()))
        raise ValueError(
            f"{where}: its configuration names code from outside the library: {named}. If you trust that "
            f"code, give allow={names!r}, on the command line {' '.join(f'--allow {n}' for n in names)}."
        )


def printable(text: str) -> str:
    """The text on one line: control characters, and bytes that were no UTF-8, as Python writes them."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(message: str) -> str:
    """As `printable`; of a long one, as of a tuple of thousands, beginning and end, where the remedy is."""
    text = printable(message)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 400]} … {text[-397:]}"


def shown(value: Any) -> str:
    """A value for an error: on one line, and no more of it than tells which it is."""
    text = printable(repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def suggest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …? Known: …`, for the end of an error message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    known = printable(", ".join(names[:LISTED]))
    return (f" Did you mean {shown(close[0])}?" if close else "") + f" Known: {known}{more}."


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
            f"config.{field} = {shown(value)}: give "
            f"{'a tuple, each member ' if several else ''}{KINDS[kind]}."
        )
    if kind is str and any(CONTROL.search(text) for text in values):
        raise ValueError(f"config.{field} = {shown(value)}: give text without control characters, in UTF-8.")
    for number in values if kind in (int, float) else ():
        check_range(field, number, -LARGEST[kind], LARGEST[kind])


def check_range(field: str, value: int | float, low: int | float, high: int | float) -> None:
    """Refuse a value outside [low, high], and NaN.

    Raises:
      ValueError: names the field of the configuration, as `pretext.radius`.
    """
    if not low <= value <= high:
        raise ValueError(f"config.{field} = {shown(value)}: between {low} and {high}.")


def check_counts(field: str, value: int | tuple[int, ...], least: int = 1) -> None:
    """Refuse a number of something, or one of a tuple of them, out of `least` to MOST, and an empty tuple.

    Raises:
      ValueError: names the field of the configuration, as `encoder.layers`.
    """
    several = isinstance(value, tuple | list)
    counts = value if isinstance(value, tuple | list) else (value,)
    if not counts or any(not least <= count <= MOST for count in counts):
        wanted = "one or more numbers of" if several else "give"
        raise ValueError(f"config.{field} = {shown(value)}: {wanted} at least {least} and at most {MOST}.")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:  # to Python, True is an int
        return isinstance(value, bool) and kind is bool
    return (
        isinstance(value, int | float) and bool(abs(value) < float("inf"))
        if kind is float
        else isinstance(value, kind)
    )


def _import(name: str, field: str) -> Any:
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the latter: no name of a module
        raise ValueError(
            f"{field} = {shown(name)} cannot be imported ({error}). Give package.module:name, with the "
            "module's folder on PYTHONPATH."
        ) from error
