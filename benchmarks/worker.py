"""One contender in a process of its own: `python -m benchmarks.worker NAME SETTING`, answers on stdout.

It builds, compiles, says it is ready, and then reads commands, a line each: `step`, `memory`. Each answer is
one line of JSON. While another contender works, this process waits for a line and uses no core.
"""

import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

import jax
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.contenders import CLASSES, CONTENDERS, Contender, Setting, config_of, random_batch
from benchmarks.machine import free_bytes
from smdsb_jax import pages
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.run.evaluation import EvalStep, eval_program
from smdsb_jax.run.memory import needed_bytes, room_to_keep
from smdsb_jax.state import Batch, TrainState
from smdsb_jax.train_step import train_step


class Built(NamedTuple):
    """A contender, ready to run. `start` compiles and makes the first step: seconds by what they went to."""

    start: Callable[[], dict[str, float]]
    step: Callable[[], dict[str, float]]  # one update of the state; blocks until the results are there
    memory: Callable[[], int]  # bytes, the peak so far
    facts: dict[str, Any]


def build_jax(setting: Setting, contender: Contender, batch: Batch) -> Built:
    """The library's step, jitted as in the training loop, or the evaluation's forward pass."""
    jax.config.update("jax_default_matmul_precision", setting.precision)
    config = config_of(setting, contender)
    parts = build_parts(config, setting.stage, CLASSES)
    state = jax.block_until_ready(jax.jit(functools.partial(init_state, parts))(jax.random.key(0)))
    jitted = jax.jit(functools.partial(train_step, parts), donate_argnums=0)
    if setting.inference:
        jitted = jax.jit(functools.partial(_infer, eval_program(parts.network, config)))
    compiled: Any = None
    kept: pages.Kept | None = None
    device = jax.local_devices()[0]

    def start() -> dict[str, float]:
        nonlocal compiled, kept
        begun = time.perf_counter()
        lowered = jitted.trace(state, batch).lower()
        traced = time.perf_counter()
        compiled = lowered.compile()
        kept = pages.keep_pages(room_to_keep(needed_bytes(compiled), free_bytes()))  # as a training
        done = time.perf_counter()
        step()
        return {
            "trace": traced - begun,
            "compile": done - traced,
            "first_step": time.perf_counter() - begun,
        }

    def step() -> dict[str, float]:
        nonlocal state, kept
        state, metrics = jax.block_until_ready(compiled(state, batch))
        kept = pages.give_back_beyond(kept)
        return {name: float(value) for name, value in metrics.items()}

    stats = device.memory_stats() or {}  # none on a CPU
    return Built(
        start,
        step,
        lambda: (device.memory_stats() or {}).get("peak_bytes_in_use") or peak_resident_bytes(),
        {
            "precision": str(jax.config.values["jax_default_matmul_precision"]),
            "device": device.device_kind,
            "free_bytes": stats.get("bytes_limit") or free_bytes(),
        },
    )


def _infer(program: EvalStep, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
    logits = program(state.variables, batch.source.points).predictions.logits
    return state, {"logits/mean_square": jnp.mean(logits**2)}


def build_torch(setting: Setting, contender: Contender, batch: Batch) -> Built:
    """The PyTorch reference's step, from the library's first weights."""
    from benchmarks import with_torch  # not all have it

    config = config_of(setting, contender)
    state = init_state(build_parts(config, setting.stage, CLASSES), jax.random.key(0))
    made = with_torch.build(config, contender, CLASSES, jax.device_get(state.variables), setting)
    infer = lambda batch: {"logits/mean_square": (made.predict(batch.source.points) ** 2).mean()}  # noqa: E731
    run = infer if setting.inference else made.step
    device = with_torch.device_of(setting)
    name, free = with_torch.device_facts(device)

    def start() -> dict[str, float]:
        begun = time.perf_counter()
        step()
        return {"first_step": time.perf_counter() - begun}

    def step() -> dict[str, float]:
        metrics = run(batch)
        with_torch.wait(device)
        return {name: float(value) for name, value in metrics.items()}

    return Built(
        start,
        step,
        lambda: with_torch.peak_bytes(device) or peak_resident_bytes(),
        {"precision": with_torch.precision_of(device), "device": name, "free_bytes": free or free_bytes()},
    )


def peak_resident_bytes() -> int:
    """The most main memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


BUILD = {"jax": build_jax, "torch": build_torch}


def serve(name: str, setting: Setting, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until they end."""

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    contender = CONTENDERS[name]
    built = BUILD[contender.framework](setting, contender, random_batch(setting))
    before = peak_resident_bytes()  # programs and weights
    parts = built.start()
    for _ in range(setting.warmup):
        built.step()
    say(seconds=parts, resident_bytes=before, **built.facts)
    rest = time.process_time(), time.perf_counter()
    for command in commands:
        if command.strip() == "memory":
            say(peak_bytes=built.memory())
            continue
        cpu, begun = time.process_time(), time.perf_counter()
        metrics = built.step()
        seconds = time.perf_counter() - begun
        say(seconds=seconds, idle=begun - rest[1], cpu_while_idle=cpu - rest[0], metrics=metrics)
        rest = time.process_time(), time.perf_counter()


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    pages.one_arena()  # PyTorch's too: none has more than the other
    serve(sys.argv[1], Setting(**json.loads(sys.argv[2])), sys.stdin, channel)
