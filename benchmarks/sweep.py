"""How step time, inference and memory grow, along one axis at a time; what would not fit is skipped."""

import math
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.compare import measure_alone, outcome
from benchmarks.contenders import Setting
from benchmarks.processes import open_progress, require_one_precision
from benchmarks.report import Record, dress, gib, times_cells
from smdsb_jax.markdown import markdown_table
from smdsb_jax.registry import lookup
from smdsb_jax.report.pictures import COLORS, FAINT, INK, log_scale

FEW = 8  # clouds of each domain where the points grow
SMALLER = "a smaller size"  # why a size is not tried: it did not run, or would take too much
SHARE = 0.9  # of the free memory that a measurement may be expected to take


class Axis(NamedTuple):
    """What grows, from small to large, and the setting at a size."""

    sizes: tuple[float, ...]
    at: Callable[[Setting, Any], Setting]
    what: str


AXES = {
    "batch": Axis((8, 16, 32, 64), lambda s, n: s._replace(batch=n), "step, clouds of each domain"),
    "points": Axis(
        (512, 1024, 2048, 4096, 8192, 16384),
        lambda s, n: s._replace(points=n, batch=min(FEW, s.batch)),
        f"step, points of a cloud, {FEW} clouds of each domain at most",
    ),
    "k": Axis((5, 10, 20, 40), lambda s, n: s._replace(k=n), "step, neighbors of a point"),
    "width": Axis((0.25, 0.5, 1, 2), lambda s, n: s._replace(width=n), "step, times the published width"),
    "inference": Axis(
        (1024, 4096, 16384, 32768, 65536, 100_000),
        lambda s, n: s._replace(points=n, batch=1, inference=True),
        "forward pass in inference mode, points of a cloud, one at a time",
    ),
}


def chosen_axes(names: Sequence[str], encoder: str) -> dict[str, Axis]:
    """The axes of --sweep.

    Raises:
      ValueError: an unknown name, or `k` of an encoder without neighbors.
    """
    found = {name: lookup(AXES, name, "--sweep") for name in names}
    if "k" in found and encoder != "dgcnn":
        raise ValueError(f"--sweep=k: --encoder={encoder} searches no neighbors. Give others, or dgcnn.")
    return found


def sweep(
    setting: Setting, names: Sequence[str], steps: int, axes: dict[str, Axis] = AXES
) -> list[dict[str, Any]]:
    """One record per axis, size and contender: `measure_alone`'s, or why it was `skipped` or `failed`."""
    tick = open_progress(len(names) * sum(len(axis.sizes) for axis in axes.values()))
    records = []
    for label, axis in axes.items():
        for name in names:
            measured: list[dict[str, Any]] = []
            for size in axis.sizes:
                why = too_large(measured, size)
                record: dict[str, Any] = {"skipped": why}
                if not why:
                    with tempfile.TemporaryDirectory() as cache:
                        record = measure_alone(name, axis.at(setting, size), steps, cache)
                measured.append({"axis": label, "size": size, "contender": name} | record)
                tick(f"{name}, {label} {size:g}: {why or outcome(record)}")
            records += measured
    require_one_precision({r["contender"]: r["precision"] for r in records if "precision" in r})
    return records


def too_large(measured: Sequence[dict[str, Any]], size: float) -> str:
    """Why the next, larger size is not tried; empty: it is.

    The peak is expected to grow with the power of the size by which it grew last, at least in proportion.
    """
    if not measured:
        return ""
    last = measured[-1]
    if "failed" in last:
        return f"{SMALLER} did not run ({last['failed']})"
    if "skipped" in last:
        return f"{SMALLER} {last['skipped'].removeprefix(SMALLER).strip()}"
    power = exponent(measured[-2], last, lambda r: r["peak_bytes"]) if len(measured) > 1 else 1.0
    expected = last["peak_bytes"] * (size / last["size"]) ** max(power, 1.0)
    if expected > SHARE * last["free_bytes"]:
        return f"would take about {expected / 2**30:.0f} of {last['free_bytes'] / 2**30:.0f} GiB"
    return ""


def exponent(one: Record, other: Record, value: Callable[[Record], float]) -> float:
    """The e of value ~ size^e between two records."""
    return math.log(value(other) / value(one)) / math.log(other["size"] / one["size"])


def _seconds(record: Record) -> float:
    return record["alone"]["median"]


def _gibibytes(record: Record) -> float:
    return record["peak_bytes"] / 2**30


def sweep_table(records: Sequence[Record]) -> str:
    """A row per size and contender; time and memory grew from the one before by a power of the size."""
    rows, before = [], {}
    for r in records:
        cells, of = [r.get("skipped") or r.get("failed", ""), *"----"], (r["axis"], r["contender"])
        if "alone" in r:
            grown = [
                f"{exponent(before[of], r, v):.1f}" if of in before else "-" for v in (_seconds, _gibibytes)
            ]
            cells = [*times_cells(r["alone"]), grown[0], gib(r["peak_bytes"]), grown[1]]
            before[of] = r
        rows.append([r["axis"], f"{r['size']:,g}", r["contender"], *cells])
    head = ["axis", "size", "contender", "median, s", "min to max", "time ~ size^", "peak memory, GiB"]
    return markdown_table([*head, "memory ~ size^"], rows)


def axes_lines(records: Sequence[Record]) -> str:
    """What each axis is."""
    return "\n".join(f"- {name}: {AXES[name].what}." for name in dict.fromkeys(r["axis"] for r in records))


def sweep_picture(records: Sequence[Record]) -> Figure:
    """Time and peak memory along each axis, all logarithmic; a line per contender."""
    labels = list(dict.fromkeys(r["axis"] for r in records if "alone" in r)) or [records[0]["axis"]]
    figure = Figure(figsize=(1 + 4.4 * len(labels), 7.6), layout="constrained")
    panels = figure.subplots(2, len(labels), squeeze=False)
    names = list(dict.fromkeys(r["contender"] for r in records))
    for column, label in enumerate(labels):
        values = {"seconds": _seconds, "peak memory, GiB": _gibibytes}
        for axes, (unit, value) in zip(panels[:, column], values.items(), strict=True):
            for name, color in zip(names, COLORS * 2, strict=False):
                of = [r for r in records if (r["axis"], r["contender"]) == (label, name) and "alone" in r]
                axes.plot([r["size"] for r in of], [value(r) for r in of], "o-", color=color, label=name)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            if any("alone" in r for r in records):
                log_scale(axes)
            dress(axes, f"{label}: {unit}", AXES[label].what.replace(", ", ",\n", 1), unit)
            axes.grid(color=FAINT, linewidth=0.8)
    panels[0, 0].legend(frameon=False, fontsize=10, labelcolor=INK)
    return figure
