"""Whether one row is better than another: differences of runs that share direction and seed."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

Cell = tuple[str, int, str, str]  # row, stage, select_by, direction
Values = Mapping[Cell, Mapping[int, Sequence[float]]]  # cell → seed → numbers of that run
Pairs = Sequence[tuple[str, str]]  # (row, the row it is held against)


def differences(
    values: Values, pairs: Pairs, stage: int, direction: str, select_by: str = "last"
) -> list[float]:
    """One row's number minus the other's, of every seed that has both."""
    found = []
    for row, other in pairs:
        one, two = (values.get((name, stage, select_by, direction), {}) for name in (row, other))
        found += [float(np.mean(one[s]) - np.mean(two[s])) for s in sorted(one.keys() & two.keys())]
    return found


def with_interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval by Student's t; one value has none."""
    if not values:
        return "\u2013"
    mean = np.mean(values)
    if len(values) == 1:
        return f"{mean:+.1f}"
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def difference_lines(
    values: Values, contrasts: Mapping[str, Pairs], directions: Sequence[str], select_by: str = "last"
) -> list[list[str]]:
    """A line per contrast and stage: name, stage, each direction, all of them, how many pairs of runs."""
    lines = [["difference", "stage", *directions, "all directions", "pairs"]]
    for name, pairs in contrasts.items():
        rows = {row for pair in pairs for row in pair}
        stages = {stage for row, stage, chosen, _ in values if row in rows and chosen == select_by}
        for stage in sorted(stages):
            each = [differences(values, pairs, stage, d, select_by) for d in directions]
            together = [value for of_direction in each for value in of_direction]
            if together:
                lines.append([name, str(stage), *map(with_interval, [*each, together]), str(len(together))])
    return lines
