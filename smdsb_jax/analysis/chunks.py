"""How many per-sample gradients to compute at a time: as many as are of use and fit into the memory."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import jax
from jax.stages import Compiled, Lowered

# A CPU is no faster with more: per sample, DGCNN and PointNet at 1,024 points took as long with 1, 2 and 4
# gradients at a time, 5 to 15 % longer with 8, 20 to 40 % with 16; thin ones at 512 no less (2 cores).
MOST_ON_CPU = 1
SHARE, MOST_BYTES = 0.5, 4 * 2**30  # of the available memory, and never more than this


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


def temporary_bytes(program: Compiled) -> int | None:
    """What a program needs beside its arguments and results, if its compiler tells."""
    analysis = program.memory_analysis()
    return None if analysis is None else analysis.temp_size_in_bytes


def memory_budget() -> int:
    """A share of the memory that is free now, of the first device or, where it does not say, of the host."""
    stats = jax.local_devices()[0].memory_stats() or {}  # none on a CPU
    free = stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else host_bytes()
    return min(int(SHARE * free), MOST_BYTES)


def host_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Main memory that is available; where the system does not say, all there is."""
    if meminfo.exists():
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
