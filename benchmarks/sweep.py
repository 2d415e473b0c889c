"""Step time and memory as batch and points grow, each contender alone; what would not fit is skipped."""

import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.compare import measure_alone, outcome
from benchmarks.contenders import Setting
from benchmarks.processes import open_progress, require_one_precision

BATCHES = (8, 16, 32, 64)  # clouds of each domain, at --points
POINTS = (512, 1024, 2048, 4096, 8192)  # of a cloud, at a batch of 8
POINTS_BATCH = 8
SHARE = 0.9  # of the free memory that a measurement may be expected to take


def sweep(
    setting: Setting,
    names: Sequence[str],
    steps: int,
    batches: Sequence[int] = BATCHES,
    points: Sequence[int] = POINTS,
) -> list[dict[str, Any]]:
    """One record per axis, size and contender: `measure_alone`'s, or why it was `skipped` or `failed`."""
    axes = {
        "batch": [setting._replace(batch=size) for size in batches],
        "points": [setting._replace(batch=min(POINTS_BATCH, setting.batch), points=size) for size in points],
    }
    tick = open_progress(len(names) * (len(batches) + len(points)))
    records = []
    for axis, settings in axes.items():
        for name in names:
            measured: list[dict[str, Any]] = []
            for at in settings:
                where = {"axis": axis, "batch": at.batch, "points": at.points, "contender": name}
                why = too_large(measured)
                record: dict[str, Any] = {"skipped": why}
                if not why:
                    with tempfile.TemporaryDirectory() as cache:
                        record = measure_alone(name, at, steps, cache)
                measured.append(where | record)
                tick(f"{name}, batch {at.batch}, {at.points} points: {why or outcome(record)}")
            records += measured
    require_one_precision({r["contender"]: r["precision"] for r in records if "precision" in r})
    return records


def too_large(measured: Sequence[dict[str, Any]]) -> str:
    """Why the next, larger size is not tried; empty: it is.

    The peak is expected to grow by the factor by which it grew last, at least by 2.
    """
    if not measured:
        return ""
    last = measured[-1]
    if "peak_bytes" not in last:
        return f"the smaller size did not run ({last.get('failed') or last['skipped']})"
    growth = last["peak_bytes"] / measured[-2]["peak_bytes"] if len(measured) > 1 else 2.0
    expected = last["peak_bytes"] * max(growth, 2.0)
    if expected > SHARE * last["free_bytes"]:
        return f"would take about {expected / 2**30:.0f} of {last['free_bytes'] / 2**30:.0f} GiB"
    return ""
