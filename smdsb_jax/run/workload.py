"""How much a training is, in words, before it starts."""

from smdsb_jax.config import Config

LONG = 1e8  # points in all steps of a training, above which it is no matter of minutes on a few cores


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
