"""What each mode of `launch/benchmark.py` measures and writes."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks import conflict, kernels, ledger, loop, methods, report, training
from benchmarks.compare import ALONE, compare
from benchmarks.contenders import CONTENDERS, WITHOUT_TORCH, Setting, choose_contenders, has_torch
from benchmarks.machine import describe
from benchmarks.processes import run_module
from benchmarks.sweep import axes_lines, chosen_axes, sweep, sweep_picture, sweep_table

WITH_TORCH = ("dgcnn", "pointnet")  # encoders of `reference/`
PAIR = ("torch eager", "jax mask shared")  # of the sweep and the training, if no contenders are given


class Asked(NamedTuple):
    """The flags that all modes share."""

    setting: Setting
    contenders: Sequence[str]
    baseline: str
    rounds: int
    out: Path


def batches(words: Sequence[str]) -> list[int]:
    """--batch as numbers.

    Raises:
      ValueError: not numbers, or fewer than 2 clouds.
    """
    if not words or not all(word.isdigit() and int(word) >= 2 for word in words):
        raise ValueError(f"--batch={','.join(words)}: give numbers from 2 on, as in --batch=16,32.")
    return [int(word) for word in words]


def chosen(asked: Asked, default: Sequence[str] = ()) -> tuple[list[str], str]:
    """The contenders and the baseline; says how to get PyTorch where it is missing.

    Raises:
      ValueError: an unknown contender, or a precision that the device does not have.
    """
    if asked.setting.encoder not in WITH_TORCH:
        raise ValueError(
            f"--encoder={asked.setting.encoder}: PyTorch's step has {' or '.join(WITH_TORCH)}. Others are "
            "measured by --methods."
        )
    names, baseline = choose_contenders(asked.contenders or default, asked.baseline, has_torch())
    if asked.setting.device == "cpu" and asked.setting.precision != "float32":
        raise ValueError(
            f"--precision={asked.setting.precision} --device=cpu: XLA computes float32 products on CPUs "
            "whatever is asked, and PyTorch may not. Give --precision=float32, or --device=gpu."
        )
    if not has_torch():
        print(WITHOUT_TORCH, file=sys.stderr, flush=True)
    return names, baseline


def run_comparison(asked: Asked, batches: Sequence[int]) -> str:
    """The main table, one for each batch size."""
    names, baseline = chosen(asked)
    machine = describe()
    cases = [compare(asked.setting._replace(batch=size), names, baseline, asked.rounds) for size in batches]
    device = next(iter(cases[0]["contenders"].values()))["device"]
    head = f"{report.header(machine, asked.setting, device)}\n{report.PROTOCOL}"
    text = "\n\n".join([head, *map(report.comparison_table, cases)])
    return _write(asked, "benchmark", text, machine, cases, report.comparison_picture(cases))


def run_sweep(asked: Asked, axes: Sequence[str]) -> str:
    """Time and memory along some of `benchmarks.sweep.AXES`.

    Raises:
      ValueError: no such axis.
    """
    along = chosen_axes(axes, asked.setting.encoder)
    names, _ = chosen(asked, PAIR)
    machine = describe()
    records = sweep(asked.setting, names, min(asked.rounds, ALONE), along)
    device = next((r["device"] for r in records if "device" in r), "none could run")
    head = f"{report.header(machine, asked.setting, device)}\n- Each alone, from an empty cache."
    text = f"{head}\n{axes_lines(records)}\n\n{sweep_table(records)}"
    return _write(asked, "sweep", text, machine, records, sweep_picture(records))


def run_kernels(asked: Asked) -> str:
    """The kernels' table, at the first --batch."""
    chosen(asked, ["jax mask shared"])
    machine, setting = describe(), asked.setting
    records = run_module("benchmarks.kernels", setting, {"rounds": asked.rounds})
    head = report.machine_lines(machine, setting, setting.device)
    text = f"{head}\n- Batch {setting.batch}, {setting.points} points.\n\n{kernels.kernels_table(records)}"
    return _write(asked, "kernels", text, machine, records)


def run_methods(asked: Asked, task: str) -> str:
    """The step of every method of a task, at the first --batch."""
    machine, setting = describe(), asked.setting
    records = run_module("benchmarks.methods", setting, {"rounds": asked.rounds, "task": task})
    head = report.machine_lines(machine, setting, setting.device)
    tnet = "with" if setting.tnet else "without"
    what = (
        f"{setting.encoder} {tnet} T-Net, {task}, batch {setting.batch} per domain, {setting.points} points"
    )
    text = f"{head}\n- {what}.\n\n{methods.methods_table(records)}"
    return _write(asked, "methods", text, machine, records)


def run_loop(asked: Asked, steps: int = 5) -> str:
    """The idle share of the training loop of our first contender, in stage 1."""
    ours = first_of_ours(asked, "--loop measures our training loop")
    machine, setting = describe(), asked.setting._replace(stage=1)
    record = run_module("benchmarks.loop", setting, {"name": ours, "steps": steps, "rounds": asked.rounds})
    text = f"{report.header(machine, setting, setting.device)}\n\n{loop.loop_table(record)}"
    return _write(asked, "loop", text, machine, record)


def run_ledger(asked: Asked) -> str:
    """What each operation of our first contender's step takes, at the first --batch.

    Raises:
      ValueError: the profiler names no operation on this device.
    """
    ours = first_of_ours(asked, "--ledger measures our step")
    machine, setting = describe(), asked.setting
    record = run_module("benchmarks.ledger", setting, {"name": ours, "rounds": asked.rounds})
    if not record["operations"]:
        raise ValueError(
            f"--ledger --device={setting.device}: jax's profiler names no operation of a compiled step here. "
            "It does on a CPU with jax 0.10.2: give --device=cpu, or install that version."
        )
    head = report.header(machine, setting, setting.device)
    what = f"- Batch {setting.batch} per domain, {setting.points} points."
    text = f"{head}\n{what}\n\n{ledger.ledger_table(record)}"
    return _write(asked, "ledger", text, machine, record, ledger.ledger_picture(record))


def first_of_ours(asked: Asked, why: str) -> str:
    """The first contender that is ours; the library's default if none is given.

    Raises:
      ValueError: all that are given are PyTorch's.
    """
    names, _ = chosen(asked, ["jax mask per_sample"])
    ours = next((name for name in names if CONTENDERS[name].framework == "jax"), None)
    if ours is None:
        raise ValueError(f"{why}: give one of the jax contenders.")
    return ours


def run_conflict(asked: Asked, samples: int) -> str:
    """What per-sample gradient agreement costs, at the first --batch."""
    names = [name for name, contender in conflict.CONTENDERS.items() if contender.build or has_torch()]
    if not has_torch():
        print(WITHOUT_TORCH, file=sys.stderr, flush=True)
    machine, setting = describe(), asked.setting._replace(stage=1)
    record = conflict.compare(setting, names, samples, asked.rounds)
    device = next(iter(record["contenders"].values()))["device"]
    head = f"{report.machine_lines(machine, setting, device)}\n{conflict.PROTOCOL}"
    tnet = "with" if setting.tnet else "without"
    what = f"{setting.encoder} {tnet} T-Net, {setting.batch} samples a mini-batch, {setting.points} points"
    text = f"{head}\n\n{what}, {asked.rounds} rounds:\n\n{conflict.conflict_table(record)}"
    return _write(asked, "conflict", text, machine, record)


def run_training(asked: Asked, steps: int, seeds: int) -> str:
    """Curves and target accuracy of the contenders over seeds."""
    names, _ = chosen(asked, PAIR)
    machine, setting = describe(), asked.setting
    runs = run_module("benchmarks.training", setting, {"names": names, "steps": steps, "seeds": seeds})
    text = f"{report.machine_lines(machine, setting, setting.device)}\n\n{training.training_table(runs)}"
    return _write(asked, "train", text, machine, runs, report.training_picture(runs))


def _write(
    asked: Asked, name: str, text: str, machine: report.Record, measured: Any, figure: Figure | None = None
) -> str:
    flags = asked._asdict() | {"setting": asked.setting._asdict(), "out": str(asked.out)}
    record = {"machine": machine, "asked": flags, "measured": measured}
    return report.write(asked.out, name, text, record, figure)
