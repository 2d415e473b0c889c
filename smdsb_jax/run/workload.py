"""How much a training is, in words, before it starts."""

import json
from typing import Any

from smdsb_jax.config import Config, flatten
from smdsb_jax.defaults import SECTIONS, choose, default_config

LONG = 1e8  # points in all steps of a training, above which it is no matter of minutes on a few cores


def changed_lines(config: Config) -> list[str]:
    """The fields with other values than their defaults, as lines of YAML, spelled as on the command line.

    Options of a chosen entry count where they differ from that entry's own defaults.
    """
    default: Any = default_config()
    chosen: Any = config
    names = {f"{section}.name": default[section].name for section in SECTIONS}
    for section in SECTIONS:
        choose(default, section, chosen[section].name)
    usual = flatten(default) | names
    changed = {name: value for name, value in flatten(config).items() if usual.get(name) != value}
    lines = [f"  {name}: {json.dumps(value)}" for name, value in changed.items()]
    return ["Fields that differ from their defaults:" if lines else "All fields have their defaults.", *lines]


def workload(config: Config, backend: str) -> str:
    """The steps of each stage and what is in one; without an accelerator, what to do if that is much.

    Args:
      config: resolved.
      backend: that jax would train on, as `jax.default_backend()` names it.
    """
    steps = {stage: config[f"stage{stage}"].steps for stage in config.stages}
    clouds = f"{config.batch_size:,} clouds{'' if config.batch_is_total else ' of each domain'}"
    stages = " and ".join(f"{count:,} of stage {stage}" for stage, count in steps.items())
    line = f"Steps: {stages}, each of {clouds} of {config.data.points:,} points."
    is_long = sum(steps.values()) * config.batch_size * config.data.points > LONG
    if is_long and backend == "cpu":
        line += (
            " Without a GPU that takes hours or days. For a trial of minutes give budget=trial or another of "
            "the config file's budgets, or fewer steps: --config.stage1.steps=200 --config.stage2.steps=200."
        )
    return line
