"""Tables, JSON and pictures of what was measured. Times in seconds, memory in GiB."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.contenders import CONTENDERS, Setting
from smdsb_jax.files import whole_file
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report.pictures import COLORS, FAINT, INK, save

Record = dict[str, Any]
FRAMEWORK_COLORS = {"jax": COLORS[0], "torch": COLORS[1]}


def write(out: Path, name: str, text: str, record: Record, figure: Figure | None) -> str:
    """Write `name`.md, .json and .png into `out`; returns the text and the paths."""
    paths = [out / f"{name}.md", out / f"{name}.json"]
    for path, content in zip(paths, (text, json.dumps(record, indent=1)), strict=True):
        with whole_file(path) as part:
            part.write_text(content + "\n", encoding="utf-8")
    if figure is not None:
        paths.append(out / f"{name}.png")
        save(figure, paths[-1])
    return "\n".join([text, "", "Written:", *(f"  {path}" for path in paths)])


def header(machine: Record, setting: Setting, device: str) -> str:
    """What was measured, on what."""
    tnet = "with" if setting.tnet else "without"
    return (
        f"- {setting.encoder} {tnet} T-Net, DefRec on both domains, stage {setting.stage}, Adam.\n"
        f"{machine_lines(machine, setting, device)}"
    )


def machine_lines(machine: Record, setting: Setting, device: str) -> str:
    """Precision, threads, processor, versions; a warning where the machine had other work."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return "\n".join(
        [
            f"- {device}, {setting.threads} threads, products in {setting.precision}.",
            f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, load "
            f"{machine['load']:.1f} at the start; {machine['system']}.",
            f"- {versions}; revision {machine['revision']}{' with changes' * machine['changed']}; "
            f"{machine['date']}.",
            *[BUSY] * (machine["load"] > machine["cores"] / 4),
        ]
    )


BUSY = """\
- **The machine was busy at the start: repeat this on a quiet one.** PyTorch's threads wait for each other,
  and were seen to take ten times as long beside other work."""
PROTOCOL = """\
- A process per contender; in each round each makes one step, in rotated order, while the others wait. Warm-up
  steps are left out. Ratio: baseline's time / own time in the same round, median and 95 % bootstrap interval.
- Random clouds in the unit ball; from a batch in main memory to metrics in main memory. Our step also rotates
  and jitters the clouds, PyTorch's gets them as they are: that favors PyTorch. Clouds/s counts both domains.
- First step: with everything compiled for it, from an empty cache and from the persistent one of an earlier
  process. Peak memory of a process alone, likewise; on a CPU all of its resident memory, of which the JSON's
  `resident_bytes` were there before the first step (PyTorch's processes take the first weights from JAX)."""


def comparison_table(case: Record) -> str:
    """The contenders of one setting, a row each, and what failed."""
    head = [
        "contender", "median, s", "min to max", "quartiles", "alone, s", "clouds/s",
        f"times faster than {case['baseline']} [95 %]", "peak memory, GiB: cold, cached",
        "first step, s: cold, cached",
    ]  # fmt: skip
    rows = []
    for name, r in case["contenders"].items():
        times, ratio = r["interleaved"], r["ratio"]
        rows.append([
            name, *times_cells(times), f"{digits(times['quartile_1'])} to {digits(times['quartile_3'])}",
            digits(r["alone"]["median"]), digits(r["clouds_per_second"]), ratio_cell(ratio),
            f"{gib(r['peak_bytes'])}, {gib(r['peak_bytes_cached'])}",
            f"{digits(r['cold']['first_step'])}, {digits(r['cached']['first_step'])}",
        ])  # fmt: skip
    setting = case["setting"]
    rounds = len(next(iter(case["contenders"].values()))["seconds"])
    lines = [f"Batch {setting['batch']} per domain, {setting['points']} points, {rounds} rounds:"]
    lines += ["", markdown_table(head, rows), "", _compilation(case["contenders"])]
    lines += [f"\nNot measured: {why}" for why in case["failed"].values()]
    busy = [f"{name} ({r['cores_while_idle']:.2f})" for name, r in case["contenders"].items()]
    if any(r["cores_while_idle"] > 0.05 for r in case["contenders"].values()):
        lines.append(f"\nCores used while waiting, which slow the others: {', '.join(busy)}.")
    return "\n".join(lines)


def _compilation(contenders: Record) -> str:
    """Ours in parts: tracing and lowering, then compiling or reading the cache."""
    return "\n".join(
        f"{name}: traced and lowered in {digits(r['cold']['trace'])} s, compiled in "
        f"{digits(r['cold']['compile'])} s, from the cache in {digits(r['cached']['compile'])} s.  "
        for name, r in contenders.items()
        if "compile" in r["cold"]
    )


def times_cells(times: Record) -> list[str]:
    """Median, and minimum to maximum."""
    return [digits(times["median"]), f"{digits(times['min'])} to {digits(times['max'])}"]


def ratio_cell(ratio: Record) -> str:
    """Median [interval]."""
    return f"{digits(ratio['median'])} [{digits(ratio['low'])}, {digits(ratio['high'])}]"


def digits(value: float) -> str:
    """Three significant digits, without an exponent from 1e-4 on."""
    if abs(value) >= 99.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def gib(size: float) -> str:
    """Bytes in GiB."""
    return f"{size / 2**30:.2f}"


def comparison_picture(cases: Sequence[Record]) -> Figure:
    """Bars of the median step with min to max, a panel per setting; shorter is faster."""
    longest = max(len(case["contenders"]) for case in cases)
    figure = Figure(figsize=(10, len(cases) * (1.1 + 0.42 * longest)), layout="constrained")
    for axes, case in zip(figure.subplots(len(cases), squeeze=False)[:, 0], cases, strict=True):
        contenders = case["contenders"]
        times = {name: r["interleaved"] for name, r in contenders.items()}
        for y, (name, t) in enumerate(times.items()):
            color = FRAMEWORK_COLORS[CONTENDERS[name].framework]
            axes.barh(y, t["median"], 0.7, color=color)
            axes.plot([t["min"], t["max"]], [y, y], color=INK, linewidth=1.5)
            ratio = digits(contenders[name]["ratio"]["median"])
            text = f" {digits(t['median'])} s ({ratio} times)"
            axes.text(max(t["median"], t["max"]), y, text, va="center", fontsize=10, color=INK)
        axes.set_yticks(range(len(times)), list(times))
        axes.invert_yaxis()
        axes.set_xlim(0, 1.25 * max(t["max"] for t in times.values()))
        setting = case["setting"]
        title = f"{setting['encoder']}, batch {setting['batch']} per domain, {setting['points']} points"
        dress(axes, title, "seconds per step: median, min to max", "")
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
    return figure


def training_picture(runs: Sequence[Record]) -> Figure:
    """Loss and target accuracy against the step, mean ± standard deviation over seeds, by contender."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(run["contender"] for run in runs))
    for name, color in zip(names, COLORS * 2, strict=False):
        of = [run for run in runs if run["contender"] == name]
        for loss, style in (("loss/class", "-"), ("loss/pretext", "--")):
            curves = np.array([smooth([m[loss] for m in run["metrics"]]) for run in of])
            _band(left, np.arange(1, curves.shape[1] + 1), curves, color, style, f"{name}, {loss[5:]}")
        accuracy = 100 * np.array([run["target_accuracy"] for run in of])
        _band(right, np.array(of[0]["evaluated"]), accuracy, color, "o-", name)
    dress(left, "Losses, running mean", "step", "mean loss per sample")
    dress(right, "Target test", "step", "accuracy, %")
    for axes in (left, right):
        axes.grid(color=FAINT, linewidth=0.8)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _band(axes: Axes, x: np.ndarray, curves: np.ndarray, color: str, style: str, label: str) -> None:
    mean, std = curves.mean(axis=0), curves.std(axis=0)
    axes.plot(x, mean, style, color=color, label=label)
    axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)


def smooth(values: Sequence[float], window: int = 10) -> np.ndarray:
    """Mean of each value and up to `window` - 1 before it."""
    total = np.cumsum([0.0, *values])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)


def dress(axes: Axes, title: str, x: str, y: str) -> None:
    """Readable sizes, and no more lines than needed."""
    axes.set_title(title, fontsize=12, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=11, color=INK)
    axes.set_ylabel(y, fontsize=11, color=INK)
    axes.tick_params(labelsize=10, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
