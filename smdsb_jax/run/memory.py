"""What a compiled program needs, and what there is."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
from jax.stages import Compiled

SHARE, MOST_BYTES = 0.5, 4 * 2**30  # of the available memory, and never more than this
ROOM = 4  # times what a step adds
# what may stay: the block of a step's temporaries and what is not yet a second one; of small steps more, as
# looking for what is free takes some milliseconds
BLOCKS, LEAST_KEPT = 1.75, 2**28  # times what a step adds; bytes


def temporary_bytes(program: Compiled) -> int | None:
    """What a program needs beside its arguments and results, if its compiler tells."""
    analysis = program.memory_analysis()
    return None if analysis is None else analysis.temp_size_in_bytes


class Need(NamedTuple):
    """Bytes of one device."""

    given: int  # arguments, which exist before the program runs
    added: int  # temporary ones, and results that take no argument's place


def needed_bytes(program: Compiled) -> Need | None:
    """What a program needs on each of its devices, if its compiler tells."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return Need(analysis.argument_size_in_bytes, analysis.temp_size_in_bytes + max(results, 0))


def free_bytes() -> int | None:
    """What is free for each device: its own, or its share of the host's; None where it does not say."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}  # none on a CPU
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return host_bytes() // jax.local_device_count() if device.platform == "cpu" else None


def memory_budget() -> int:
    """A share of the memory that is free now, of the first device or, where it does not say, of the host."""
    stats = jax.local_devices()[0].memory_stats() or {}  # none on a CPU
    free = stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else host_bytes()
    return min(int(SHARE * free), MOST_BYTES)


def refuse_too_much(
    need: Need | None, free: int | None, clouds: int, multiple: int, parts: int | None
) -> None:
    """Say that a step does not fit, and what does; nothing where compiler or device do not tell.

    The estimates take what a step adds as in proportion to the clouds that it has at a time.

    Args:
      need: of the step.
      free: on each device, the step's arguments there already.
      clouds: of each domain in a step.
      multiple: numbers of clouds of a domain that can be taken are multiples of this.
      parts: `config.accumulate`; None: it cannot be raised.

    Raises:
      ValueError: one line with what is needed, what there is, and smaller steps that fit.
    """
    if need is None or free is None or need.added <= free:
        return
    fits = int(clouds * free / need.added) // multiple * multiple
    smaller = [f"about {fits} clouds of each domain fit (config.batch_size)"] if fits >= 2 else []
    if parts is not None:
        for count in range(parts + 1, clouds // max(multiple, 2) + 1):
            if clouds % (count * multiple) == 0 and need.added * parts <= free * count:
                smaller.append(f"or all of them in parts with --config.accumulate={count}")
                break
    more = ", ".join(smaller) or "take fewer points, or a smaller encoder"
    whole, there = (f"{(need.given + size) / 2**30:.2f} GiB" for size in (need.added, free))
    raise ValueError(
        f"A step of {clouds} clouds of each domain needs {whole}, and there are {there}: {more}."
    )


def room_to_keep(need: Need | None, free: int | None) -> int | None:
    """Bytes that a training may grow by before it gives back what is free (`pages.keep_pages`).

    None: nothing stays, as the main memory has not much more than a step needs, or is not where it runs.
    """
    if need is None or free is None or jax.default_backend() != "cpu" or ROOM * need.added > free:
        return None
    return max(LEAST_KEPT, int(BLOCKS * need.added))


def describe_need(need: Need | None, free: int | None, kept: bool = False) -> str:
    """What a step needs of a device, in words; what is free, with the step's arguments there already."""
    if need is None:
        return "this compiler does not tell what memory a step needs."
    there = "" if free is None else f" of the {(need.given + free) / 2**30:.3g} GiB that there are"
    stays = "; its memory stays between steps" if kept else ""
    return f"a step needs {(need.given + need.added) / 2**30:.2g} GiB{there}{stays}."


def host_bytes(
    meminfo: Path = Path("/proc/meminfo"),
    own: Path = Path("/proc/self/cgroup"),
    groups: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Main memory that is available, to the control group too; if nothing says so, all there is."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if meminfo.exists():
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo.read_text(), re.MULTILINE)
        if found:
            free = int(found[1]) * 1024
    return min([free, *_free_of_groups(own, groups)])


def _free_of_groups(own: Path, groups: Path) -> Iterator[int]:
    """Of each control group about the process that has a limit: version 2, or the memory controller of 1."""
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base, names = groups / controllers, ("memory.max", "memory.current")
        if controllers:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        place = base / path.lstrip("/")
        for group in (place, *place.parents):
            if not group.is_relative_to(base):
                break
            limit, used, stat = (group / name for name in (*names, "memory.stat"))
            if limit.exists() and used.exists() and limit.read_text().strip() != "max":
                told = stat.read_text() if stat.exists() else ""
                cache = sum(map(int, re.findall(r"^inactive_file (\d+)$", told, re.MULTILINE)))  # given back
                yield max(int(limit.read_text()) - int(used.read_text()) + cache, 0)
