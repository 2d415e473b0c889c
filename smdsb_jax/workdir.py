"""What a run's folder already holds: whether it may be resumed, and networks to start from."""

import json
import os
from pathlib import Path

from jax.sharding import Sharding

from smdsb_jax import checkpoint
from smdsb_jax.config import Config, flatten, trajectory_differences
from smdsb_jax.state import Variables


def refuse_other_trajectory(
    last: checkpoint.Info, config: Config, classes: tuple[str, ...], workdir: Path
) -> None:
    """A resumed run must compute what it would have computed uninterrupted.

    Raises:
      ValueError: other values of fields that change the trajectory; lists them.
    """
    differences = trajectory_differences(last.config, config, last.stage)
    steps = config[f"stage{last.stage}"].steps
    if last.classes != classes:
        differences.append(f"classes: {', '.join(last.classes)} -> {', '.join(classes)}")
    if steps < last.step:
        differences.append(f"config.stage{last.stage}.steps: {steps}, but {last.step} are done")
    if last.stage not in config.stages:
        differences.append(f"config.stages: {tuple(config.stages)}, but the run is in stage {last.stage}")
    if differences:
        raise ValueError(
            f"{workdir} holds a run that these changes would falsify; take its values, or another --workdir:"
            + "".join(f"\n  {line}" for line in differences)
        )


def load_variables(workdir: Path, classes: tuple[str, ...], sharding: Sharding) -> Variables:
    """The network of the last checkpoint of another run, for `config.init_from`.

    Raises:
      ValueError: no run there, or one with other classes.
    """
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(
            f"config.init_from = {str(workdir)!r} is not the workdir of a run: it has no checkpoints/."
        )
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        last = checkpoint.info(checkpointer)
        if last.classes != classes:
            raise ValueError(
                f"config.init_from: that run has the classes {', '.join(last.classes)}, this one "
                f"{', '.join(classes)}."
            )
        return checkpoint.restore_variables(checkpointer, last.total_step, sharding)


def write_config(config: Config, workdir: Path) -> None:
    """The resolved configuration, whole or not at all."""
    workdir.mkdir(parents=True, exist_ok=True)
    part = workdir / "config.json.part"
    part.write_text(json.dumps(flatten(config), indent=1) + "\n", encoding="utf-8")
    os.replace(part, workdir / "config.json")
