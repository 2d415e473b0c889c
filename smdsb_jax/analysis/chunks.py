"""How many per-sample gradients to compute at a time: as many as are of use and fit into the memory."""

from collections.abc import Callable

import jax
from jax.stages import Lowered

from smdsb_jax.run.memory import temporary_bytes

# A CPU is no faster with more: per sample, DGCNN and PointNet at 1,024 points took as long with 1, 2 and 4
# gradients at a time, 5 to 15 % longer with 8, 20 to 40 % with 16; thin ones at 512 no less (2 cores).
MOST_ON_CPU = 1


def choose_chunk(
    lower: Callable[[int], Lowered], samples: int, memory_bytes: int, most: int | None = None
) -> int:
    """The chunk for `gradients.products_and_norms`: the largest one of use whose program fits the memory.

    The compiler tells what the program of one gradient at a time needs beside its arguments, and c at a time
    need at most c times as much (of DGCNN's and PointNet's a half and a third of that at c = 16, the rest
    being shared). Where more than one at a time is of no use, nothing is compiled.

    Args:
      lower: chunk → the program, as in `lambda chunk: jitted.lower(*arguments, chunk)`.
      samples: of one call.
      memory_bytes: what the program may take, e.g. `memory_budget()`.
      most: the largest chunk of use; None: 1 on a CPU, else `samples`.
    """
    if most is None:
        most = MOST_ON_CPU if jax.default_backend() == "cpu" else samples
    most = min(most, samples)
    if most <= 1:
        return 1
    each = temporary_bytes(lower(1).compile())
    return 1 if each is None else max(1, min(memory_bytes // max(each, 1), most))
