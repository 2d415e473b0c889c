"""What a run's folder already holds: whether it may be resumed, and networks to start from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Sharding

from smdsb_jax.config import Config, flatten, trajectory_differences
from smdsb_jax.datasets import fingerprint
from smdsb_jax.defaults import make
from smdsb_jax.files import whole_file
from smdsb_jax.registry import shown
from smdsb_jax.run import checkpoint
from smdsb_jax.run.records import CONFIG
from smdsb_jax.state import Variables
from smdsb_jax.weights import SUFFIX, read_weights


def refuse_other_trajectory(
    last: checkpoint.Info,
    config: Config,
    classes: tuple[str, ...],
    workdir: Path,
    finished: bool = False,
    data: Mapping[str, Any] | None = None,
) -> None:
    """A resumed run must compute what it would have computed uninterrupted.

    Raises:
      ValueError: other values of fields that change the trajectory, or other clouds (`data` is their
        `datasets.fingerprint`), lists them; or a run of a revision that drew other random numbers.
    """
    if last.draws != checkpoint.DRAWS and not finished and make(config, "pretext").names:
        raise ValueError(
            f"{workdir} was begun by a revision of smdsb_jax that drew other random numbers: it can be "
            "evaluated, analyzed and started from (init_from), but not resumed. Take another --workdir."
        )
    differences = trajectory_differences(last.config, config, last.stage)
    steps = config[f"stage{last.stage}"].steps
    if last.classes != classes:
        differences.append(f"classes: {', '.join(last.classes)} -> {', '.join(classes)}")
    elif last.data and data is not None:  # earlier revisions kept none
        differences += fingerprint.differences(last.data, data)
    if steps < last.step:
        differences.append(f"config.stage{last.stage}.steps: {steps}, but {last.step} are done")
    if last.stage not in config.stages:
        differences.append(f"config.stages: {tuple(config.stages)}, but the run is in stage {last.stage}")
    if differences:
        raise ValueError(
            f"{workdir} holds a run that these changes would falsify; take its values, or another --workdir:"
            + "".join(f"\n  {line}" for line in differences)
        )


def last_checkpoint(workdir: Path) -> checkpoint.Info | None:
    """What the last checkpoint of a run says of itself, None without one; the folder is not changed."""
    if not (workdir / "checkpoints").is_dir():
        return None
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        return checkpoint.info(checkpointer) if checkpointer.checkpoints else None


def load_variables(
    init_from: str, stages: tuple[int, ...], classes: tuple[str, ...], sharding: Sharding
) -> Variables:
    """The network that `config.init_from` names: a run's workdir, one checkpoint of it, or a file of weights.

    Of a workdir it is that of the last checkpoint; for stage 2 alone, the last one of stage 1, since the
    network then makes the pseudo-labels. A file is one of safetensors, which `smdsb export` and `smdsb
    import` write; where it names no classes, their number must do.

    Raises:
      ValueError: no such run, checkpoint or file, or one with other classes.
    """
    path = Path(init_from).resolve()
    if path.suffix == SUFFIX:
        return _from_file(path, classes, sharding)
    one = path.parent.name == "checkpoints" and path.name.isdigit()
    workdir = path.parents[1] if one else path
    remedy = f"Give the workdir of a run, one checkpoint (workdir/checkpoints/STEP), or a file *{SUFFIX}."
    if path.is_file():
        raise ValueError(
            f"config.init_from = {init_from!r} is a file of another kind. {remedy} Of a file of PyTorch, "
            "smdsb import makes one."
        )
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(
            f"config.init_from = {init_from!r} is not the workdir of a run: it has no checkpoints/. {remedy}"
        )
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        try:
            of_stage = 1 if stages == (2,) else None
            step = int(path.name) if one else checkpoint.select(checkpointer, "last", of_stage)
            found = checkpoint.info(checkpointer, step)
        except ValueError as error:
            raise ValueError(f"config.init_from: {error} {remedy}") from None
        _refuse_other_classes(found.classes, classes)
        return checkpoint.restore_variables(checkpointer, found.total_step, sharding)


def _from_file(path: Path, classes: tuple[str, ...], sharding: Sharding) -> Variables:
    try:
        variables, about = read_weights(path)
    except ValueError as error:
        raise ValueError(f"config.init_from: {error}") from error
    if "classes" in about:
        _refuse_other_classes(_names(about["classes"], path), classes)
    return jax.device_put(variables, sharding)


def _names(text: str, path: Path) -> tuple[str, ...]:
    try:
        named = json.loads(text)
    except ValueError:
        named = None
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ValueError(f"config.init_from: {path}: its classes are no list of names: {shown(text)}.")
    return tuple(named)


def _refuse_other_classes(theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    if theirs != ours:
        raise ValueError(
            f"config.init_from: that network has the classes {', '.join(theirs)}, this run "
            f"{', '.join(ours)}. Give one with the same."
        )


def write_config(config: Config, workdir: Path) -> None:
    """The resolved configuration, whole or not at all."""
    with whole_file(workdir / CONFIG) as part:
        part.write_text(json.dumps(flatten(config), indent=1) + "\n", encoding="utf-8")
