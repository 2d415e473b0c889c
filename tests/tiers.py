"""Two tiers of tests: `make test` is for every change, `make test-all` adds what is marked here.

Exhaustive is a test whose claim a shorter one makes of a typical case: the same of every further case, or of
other processes.
"""

from collections.abc import Iterable
from typing import Any

import pytest

exhaustive = pytest.mark.exhaustive


def cases(values: Iterable[Any], *everyday: Any) -> list[Any]:
    """Parameters, of which those named are for every change."""
    values = list(values)
    assert all(one in values for one in everyday), everyday
    return [one if one in everyday else pytest.param(one, marks=exhaustive) for one in values]
