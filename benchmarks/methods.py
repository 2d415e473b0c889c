"""`--methods`: one step of every method of a task in every stage, beside `source_only`'s, in one process.

Runs by itself: `python -m benchmarks.methods SETTING ARGUMENTS` prints its record as JSON.
"""

import functools
import gc
import json
import math
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax

from benchmarks.contenders import CLASSES, Setting, random_batch
from benchmarks.processes import open_progress
from benchmarks.ratios import paired_ratio, spread
from benchmarks.report import ratio_cell, times_cells
from configs import methods, segmentation
from smdsb_jax import choose, default_config, resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.config import Config
from smdsb_jax.markdown import markdown_table
from smdsb_jax.run.memory import temporary_bytes
from smdsb_jax.train_step import train_step

BASELINE = ("source_only", "none", 1)  # method, selection, stage
Case = tuple[str, str, int]
# of which the compiled steps are held at once: each has some 1,600 mappings of memory on a CPU, and Linux
# gives a process 65,530
GROUP = 16
TASKS = {  # methods, what applies them, and a direction: the first has occlusion, the second's are scans
    "classification": (methods.METHODS, methods.apply, ("modelnet", "scannet")),
    "segmentation": (segmentation.METHODS, segmentation.apply, ("faust", "scape")),
}


def config_of_method(setting: Setting, method: str, selection: str, task: str = "classification") -> Config:
    """A method's published configuration at the setting's encoder, batch and points."""
    _, apply, direction = TASKS[task]
    config: Config = choose(default_config(), "encoder", setting.encoder)
    for name in ("input_tnet", "feature_tnet"):
        if name in config.encoder:
            config.encoder[name] = setting.tnet
    config.data.source, config.data.target = direction
    chosen = {**methods.OPTIONS, "method": method, "selection": selection}
    apply(config, SimpleNamespace(**chosen))
    config.data.points, config.batch_size, config.batch_is_total = setting.points, setting.batch, False
    config.matmul_precision = setting.precision
    return resolve(config)


def cases(task: str = "classification") -> list[Case]:
    """Every method with and without selection, where it has a pretext task to select for, in its stages."""
    found: list[Case] = [BASELINE]
    for method in TASKS[task][0]:
        selections = ("none",) if method in ("source_only", "oracle") else ("none", "skewness")
        stages = config_of_method(Setting(), method, "none", task).stages
        found += [(method, s, stage) for stage in stages for s in selections]
    return [case for case in dict.fromkeys(found) if case[0] != "oracle"]  # the step of source_only


class Step(NamedTuple):
    """A compiled case: each call makes a step and returns its seconds."""

    seconds: Callable[[], float]
    gibibytes: float  # of temporary arrays


def build_step(setting: Setting, case: Case, task: str = "classification") -> Step:
    """Compiles a case's step."""
    method, selection, stage = case
    parts = build_parts(config_of_method(setting, method, selection, task), stage, CLASSES)
    per_point = parts.network.task.per_point
    batch = jax.device_put(random_batch(setting._replace(stage=stage), per_point=per_point))
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    step = jax.jit(functools.partial(train_step, parts), donate_argnums=0).lower(state, batch).compile()

    def seconds() -> float:
        nonlocal state
        begun = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batch))
        return time.perf_counter() - begun

    return Step(seconds, (temporary_bytes(step) or math.nan) / 2**30)


def measure(setting: Setting, rounds: int, task: str = "classification") -> list[dict[str, Any]]:
    """Seconds and memory of every case, at most GROUP at a time, each held against the baseline beside it."""
    listed = cases(task)
    others = [case for case in listed if case != BASELINE]
    groups = [others[i : i + GROUP] for i in range(0, len(others), GROUP)] or [[]]
    tick = open_progress(len(others) + len(groups) * (1 + rounds + 1))
    records: list[dict[str, Any]] = []
    for group in groups:
        found = measure_group(setting, [BASELINE, *group], rounds, task, tick)
        records += found[1:] if records else found
        jax.clear_caches()
        gc.collect()  # compiled steps give their memory back
    return records


def measure_group(
    setting: Setting, listed: list[Case], rounds: int, task: str, tick: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The records of some cases, BASELINE among them; in each round each runs once, in rotated order."""
    steps = {}
    for case in listed:
        steps[case] = build_step(setting, case, task)
        tick(f"{case} compiled")
    times: dict[Case, list[float]] = {case: [] for case in listed}
    for r in range(-1, rounds):  # the first round warms up
        for case in listed[r % len(listed) :] + listed[: r % len(listed)]:
            taken = steps[case].seconds()
            if r >= 0:
                times[case].append(taken)
        tick(f"round {r + 1} of {rounds}")
    return [
        {
            "case": case,
            "seconds": seconds,
            "slower": paired_ratio(seconds, times[BASELINE]),
            "gibibytes": steps[case].gibibytes,
        }
        for case, seconds in times.items()
    ]


def methods_table(records: list[dict[str, Any]]) -> str:
    """A row per method, selection and stage."""
    rows = [
        [
            *map(str, r["case"]),
            *times_cells(spread(r["seconds"])),
            ratio_cell(r["slower"]),
            f"{r['gibibytes']:.2f}",
        ]
        for r in records
    ]
    head = ["method", "selection", "stage", "median, s", "min to max", "times source_only's [95 %]"]
    return markdown_table([*head, "temporary, GiB"], rows)


if __name__ == "__main__":
    setting, given = Setting(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    jax.config.update("jax_default_matmul_precision", setting.precision)
    print(json.dumps(measure(setting, given["rounds"], given["task"])))
