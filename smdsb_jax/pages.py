"""The pages of freed memory stay with the process, where glibc's malloc serves it (Linux, not musl).

A step on a CPU asks for its temporaries anew each time. By default glibc hands so large a block back to the
system, which clears its pages again for the next step: 15 to 25 % of a step's time (docs/performance.md).
"""

import ctypes
import os
import platform
from pathlib import Path
from typing import NamedTuple

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h
NEVER, NONE, DEFAULT_MMAP_MAX = -1, 0, 65536  # of mallopt(3)


def one_arena() -> None:
    """All threads take memory from one place; only such memory can stay. Before the first array is made."""
    if _is_ours():
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


class Kept(NamedTuple):
    """What a process whose pages stay may have in memory, in bytes."""

    most: int  # with more than this, what is free goes back
    room: int  # that it may then grow by again


def keep_pages(room: int | None) -> Kept | None:
    """What is freed stays with the process, or, if larger than what has stayed, goes back as by default.

    It costs memory: of an aligned block some bytes stay with the thread, and then the next one of its size
    does not fit where it was. `give_back_beyond` bounds that.

    Args:
      room: bytes that the process may grow by before what is free goes back; None: nothing stays.

    Returns:
      None where nothing stays: also without glibc, or where GLIBC_TUNABLES already says something of malloc.
    """
    if not _is_ours():
        return None
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, DEFAULT_MMAP_MAX if room is None else NONE)
    if room is None:
        return None
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    return Kept(resident_bytes() + room, room)


def give_back() -> None:
    """What is free goes back to the system, so that the system's count of free memory has it."""
    if _is_ours():
        ctypes.CDLL(None).malloc_trim(0)


def give_back_beyond(kept: Kept | None) -> Kept | None:
    """What is free goes back once the process has more in memory than it may.

    Returns:
      what it may have after the next step: as before, or so much more than what is left.
    """
    if kept is None or resident_bytes() <= kept.most:
        return kept
    give_back()
    return kept._replace(most=resident_bytes() + kept.room)


def resident_bytes() -> int:
    """What the process has in memory now, on Linux; shared libraries too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _is_ours() -> bool:
    return platform.libc_ver()[0] == "glibc" and "glibc.malloc" not in os.environ.get("GLIBC_TUNABLES", "")
