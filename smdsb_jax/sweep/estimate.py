"""How long a table will take, by steps that are measured here: for a dry run, before any run is done."""

import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from smdsb_jax.build import build_parts, init_state, load_domains
from smdsb_jax.config import Config, domain_batch_size
from smdsb_jax.sampling import sample_batch
from smdsb_jax.sweep.plan import Planned, duration
from smdsb_jax.train_step import train_step

STEPS = 3  # measured, after the one that compiles


def measure_step(config: Config) -> float:
    """Seconds of a training step of the first stage, on the first device; its median, without compilation."""
    stage = config.stages[0]
    source, target = load_domains(config)
    parts = build_parts(config, stage, len(source.classes))
    with jax.default_matmul_precision(config.matmul_precision):
        state = init_state(parts, jax.random.key(config.seed))
        batch = sample_batch(
            config.seed, stage, 0, domain_batch_size(config), source.train, target.train, None
        )  # fmt: skip
        step = jax.jit(lambda state, batch: train_step(parts, state, batch, None))
        jax.block_until_ready(step(state, batch))
        seconds = []
        for _ in range(STEPS):
            begun = time.perf_counter()
            jax.block_until_ready(step(state, batch))
            seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


def estimate(plan: Sequence[Planned], measure: Callable[[Config], float] = measure_step) -> str:
    """A line: what is left, by one measured step of each encoder.

    A run's time is its steps', each in proportion to its points; compilation, evaluations and what a row's
    method or selection costs beyond the measured one's are left out.

    Args:
      plan: of which some runs are left.
      measure: seconds of a step.
    """
    left = [planned for planned in plan if planned.progress != "done"]
    if not left:
        return "Nothing is left to do."
    measured: dict[str, tuple[float, float, str]] = {}  # encoder → seconds, points, row
    total = 0.0
    for run, config, _ in left:
        encoder = str(config.encoder)
        if encoder not in measured:
            measured[encoder] = measure(config), _points(config), run.row
        seconds, points, _ = measured[encoder]
        steps = sum(config[f"stage{stage}"].steps for stage in config.stages)
        total += steps * seconds * _points(config) / points
    of = ", ".join(f"{seconds:.3g} s ({row})" for seconds, _, row in measured.values())
    return (
        f"About {duration(total)} for the {len(left)} runs that are left, one at a time on this machine's "
        f"{jax.default_backend().upper()}, by a step measured now: {of}. Without compilation and evaluations."
    )


def _points(config: Config) -> float:
    return float(domain_batch_size(config) * config.data.points)
