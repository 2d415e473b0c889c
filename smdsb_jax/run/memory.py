"""What a compiled program needs, and what there is."""

import os
import re
from pathlib import Path

import jax
from jax.stages import Compiled

SHARE, MOST_BYTES = 0.5, 4 * 2**30  # of the available memory, and never more than this


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
