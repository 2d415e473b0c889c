"""`--loop`: the share of the training loop's time in which the device waits for the host.

Runs by itself: `python -m benchmarks.loop SETTING ARGUMENTS` prints its record as JSON.
"""

import functools
import json
import sys
import time
from typing import Any

import jax

from benchmarks.contenders import CONTENDERS, Setting, config_of
from benchmarks.processes import open_progress
from benchmarks.ratios import paired_ratio, spread
from benchmarks.report import digits, ratio_cell
from smdsb_jax.build import build_parts, init_state, load_domains
from smdsb_jax.markdown import markdown_table
from smdsb_jax.sampling import sample_batch
from smdsb_jax.train_step import train_step


def idle_share(name: str, setting: Setting, steps: int, rounds: int) -> dict[str, Any]:
    """Time `steps` steps as the training loop makes them, and as many on one batch that is on the device.

    `rounds` times, both without waiting in between. Idle share: 1 - ready / loop, median and interval over
    the rounds. The clouds are the embedded ones, at their stored points.
    """
    config = config_of(setting, CONTENDERS[name])
    source, target = load_domains(config)
    parts = build_parts(config, 1, len(source.classes))
    step_function = jax.jit(functools.partial(train_step, parts), donate_argnums=0)
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    sample = functools.partial(
        sample_batch, 0, 1, batch=setting.batch, source=source.train, target=target.train, pseudo_labels=None
    )
    ready = jax.device_put(sample(step=0))
    state, _ = jax.block_until_ready(step_function(state, ready))

    def seconds(batch_of: Any) -> float:
        nonlocal state
        begun = time.perf_counter()
        for step in range(steps):
            state, _ = step_function(state, batch_of(step))
        jax.block_until_ready(state)
        return time.perf_counter() - begun

    tick = open_progress(rounds)
    loop, alone = [], []
    for r in range(rounds):
        kinds = [(loop, lambda step: jax.device_put(sample(step=step))), (alone, lambda step: ready)]
        for times, batch_of in kinds if r % 2 == 0 else kinds[::-1]:
            times.append(seconds(batch_of))
        tick(f"round {r + 1} of {rounds}")
    slower = paired_ratio(loop, alone)  # loop / ready
    share = {bound: 1 - 1 / slower[bound] for bound in ("median", "low", "high")}
    return {"contender": name, "steps": steps, "loop": loop, "ready": alone, "idle_share": share}


def loop_table(record: dict[str, Any]) -> str:
    """Seconds per step of the loop and of the ready batch, and the idle share."""
    share = {bound: 100 * value for bound, value in record["idle_share"].items()}
    per_step = [digits(spread(record[kind])["median"] / record["steps"]) for kind in ("loop", "ready")]
    head = ["contender", "loop, s per step", "batch ready, s per step", "idle, % [95 %]"]
    return markdown_table(head, [[record["contender"], *per_step, ratio_cell(share)]])


if __name__ == "__main__":
    setting, given = Setting(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    jax.config.update("jax_default_matmul_precision", setting.precision)
    print(json.dumps(idle_share(given["name"], setting, given["steps"], given["rounds"])))
