"""Whether one row is better than another: differences of runs that share direction and seed."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

Cell = tuple[str, int, str, str]  # row, stage, select_by, direction
Values = Mapping[Cell, Mapping[int, Sequence[float]]]  # cell → seed → numbers of that run
Pairs = Sequence[tuple[str, str]]  # (row, the row it is held against)


def differences(
    values: Values, pairs: Pairs, stage: int, directions: Sequence[str], select_by: str = "last"
) -> dict[int, list[float]]:
    """Seed → one row's number minus the other's, of every pair and direction that has both.

    A row that has no such stage, as source_only, is taken at its last before it, if the other one has it.
    """
    found: dict[int, list[float]] = {}
    for direction in directions:
        for pair in pairs:
            at = [
                max((s for s in range(1, stage + 1) if (row, s, select_by, direction) in values), default=0)
                for row in pair
            ]
            if stage not in at:
                continue
            one, two = (
                values.get((row, s, select_by, direction), {}) for row, s in zip(pair, at, strict=True)
            )
            for seed in sorted(one.keys() & two.keys()):
                found.setdefault(seed, []).append(float(np.mean(one[seed]) - np.mean(two[seed])))
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
            apart, together = [[direction] for direction in directions], list(directions)
            each = [differences(values, pairs, stage, of, select_by) for of in (*apart, together)]
            count = sum(map(len, each[-1].values()))
            if count:
                lines.append([name, str(stage), *map(over_seeds, each), str(count)])
    return lines


def over_seeds(found: Mapping[int, Sequence[float]]) -> str:
    """Mean and interval of the seeds' means: pairs and directions of one seed see the same draws."""
    return with_interval([float(np.mean(of_seed)) for _, of_seed in sorted(found.items())])
