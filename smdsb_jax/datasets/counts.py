"""Is a published data set complete? What is counted, published and on disk, and a table of it."""

from collections.abc import Sequence
from typing import NamedTuple


class Count(NamedTuple):
    """Objects of one kind: published and on disk."""

    group: str  # what is counted together, as `modelnet train`
    name: str  # of the kind in it, as `bed`
    expected: int
    found: int

    @property
    def missing(self) -> int:
        """Objects that should be there and are not."""
        return max(self.expected - self.found, 0)

    @property
    def extra(self) -> int:
        """Objects beyond the published number."""
        return max(self.found - self.expected, 0)


def table(counts: Sequence[Count]) -> str:
    """The counts as text, with a total of each group; rows that differ end in an arrow."""
    lines = []
    for group in dict.fromkeys(count.group for count in counts):
        rows = [count for count in counts if count.group == group]
        total = Count(group, "total", sum(c.expected for c in rows), sum(c.found for c in rows))
        lines.append(f"{group:16} {'expected':>9} {'found':>7} {'missing':>8} {'extra':>6}")
        for c in (*rows, total):
            arrow = " <--" if c.expected != c.found else ""
            lines.append(f"  {c.name:14} {c.expected:9} {c.found:7} {c.missing:8} {c.extra:6}{arrow}")
    return "\n".join(lines)


def is_complete(counts: Sequence[Count]) -> bool:
    """Whether as many of each are on disk as published, no fewer and no more."""
    return all(count.expected == count.found for count in counts)


def difference(counts: Sequence[Count]) -> str:
    """`3 objects missing, 1 extra`."""
    return f"{sum(c.missing for c in counts)} objects missing, {sum(c.extra for c in counts)} extra"
