"""The workdir of a run that was never trained: one checkpoint of the first state, with any configuration."""

import functools

import jax

from smdsb_jax import resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.run import checkpoint
from tests.tiny_run import tiny_config

CLASSES = ("bed", "cabinet", "chair", "lamp", "plant", "sofa", "table")  # of the embedded data


@functools.cache
def first_state():
    parts = build_parts(resolve(tiny_config()), 1, len(CLASSES))
    return jax.jit(functools.partial(init_state, parts))(jax.random.key(0))


def save_untrained(workdir, **names):
    """Save it; `encoder="package.module:attribute"` and the like replace what the configuration names."""
    config = resolve(tiny_config(stages=(1,))).to_dict()
    for section, name in names.items():
        config[section]["statistic" if section == "selection" else "name"] = name
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        scores = {"source_val/accuracy": 0.5, "target_test/accuracy": 0.25}
        checkpoint.save(checkpointer, 1, 1, first_state(), None, scores, config, CLASSES)
    return workdir
