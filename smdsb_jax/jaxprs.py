"""What jax says differently from version to version in the programs that it traces."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class ScanInputs(NamedTuple):
    """The inputs of a `jax.lax.scan`'s equation, in their order."""

    constants: list[Any]
    carry: list[Any]
    rows: list[Any]  # the arrays whose rows are the turns' own


def scan_inputs(params: dict[str, Any], given: Sequence[Any]) -> ScanInputs:
    """The inputs `given` to a scan by their parts; its outputs are those of the carry, then the turns' own.

    Args:
      params: of the equation; from jax 0.11 on with a tree of the inputs instead of their numbers.
      given: one value for each of the equation's inputs.
    """
    if "ft_in" in params:
        return ScanInputs(*map(list, params["ft_in"].update(given).unpack()))
    start = params["num_consts"]
    end = start + params["num_carry"]
    return ScanInputs(*map(list, (given[:start], given[start:end], given[end:])))
