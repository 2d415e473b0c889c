"""Wrong values, and what a case of tests/bad_input.py is."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from smdsb_jax.defaults import SECTIONS
from smdsb_jax.statistics import STATISTICS

SECONDS = 1.0  # of the processor, until a case is refused
TRACED = 4.0  # where only a trace of the network tells


class Case(NamedTuple):
    """Something that may be wrong with what a user gives."""

    kind: str
    what: str  # in words, to find it again
    names: tuple[str, ...]  # of which a refusal has one
    attempt: Callable[[Path], None]  # in a folder of its own; raises, or is content
    prepare: Callable[[Path], None] = lambda folder: None  # puts there what is bad


class Slow(Exception):
    """More time than a refusal may take."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Of the processor's time, until it raises. What is right may take longer."""
    begun = time.process_time()
    try:
        yield
    except (ValueError, OSError) as error:
        if time.process_time() - begun > seconds:
            raise Slow(f"{time.process_time() - begun:.1f} s: {error}") from error
        raise


NUMBERS = st.one_of(
    st.sampled_from(
        [0, -1, 1, 2, 3, 4000, 2**20, 2**24, 2**31 - 1, 2**31, 2**63, 2**64, 10**30, 10**400, -(2**63)]
    ),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0, 1e-300, 1e300, 0.5, 1.0, 1e6, -1e-3]),
    st.integers(),
    st.floats(),
)
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from([
        "", " ", "none", "True", "1e3", "a\nb", "a\rb", "\x00", "\x1b[2J", "..", "../..", "/", "~",
        "x" * 5000, "\udc80", "ä 🪑", "%s{}", ":", ":x", "x:", ".x:y", "os:getcwd", "no_such_module:x",
        "json:load",
    ]),
)  # fmt: skip
SIMPLE = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
ODD = st.one_of(
    SIMPLE,
    st.lists(SIMPLE, max_size=4).map(tuple),
    st.lists(NUMBERS, max_size=4).map(tuple),
    st.lists(SIMPLE, max_size=3),
    st.builds(lambda one, times: (one,) * times, NUMBERS, st.sampled_from([2, 3, 5, 2000])),
    st.sampled_from([{}, {"a": 1}, {"a": {"b": ()}}, b"x", ((1, 2), 3), 1j, {1, 2}, np.float64(0.5)]),
    st.sampled_from([np.int64(3), np.float32("nan"), np.zeros(3), range(3), object, len]),
)


def near(default: Any) -> st.SearchStrategy[Any]:
    """Values of the default's own type, which may well be allowed."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.one_of(st.integers(-3, 70), st.sampled_from([128, 1024, 4000, 2**16, 2**20, 2**24, 2**31]))
    if isinstance(default, float):
        return st.one_of(st.floats(-2, 2), st.sampled_from([1e-38, 1e30, 3.4e38, 1e-7, 100.0]))
    if isinstance(default, tuple) and default:
        return st.lists(near(default[0]), max_size=4).map(tuple)
    names = [*STATISTICS, *(name for known in SECTIONS.values() for name in known)]
    return st.one_of(TEXT, st.sampled_from(names))


def shown(value: Any) -> str:
    """Not more of it than tells what it is."""
    said = repr(value)
    return said if len(said) < 120 else f"{said[:120]}… of {len(said)} letters"
