"""A checkpoint as the laboratory needs it: the step's functions, the whole state, data and labels."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from smdsb_jax.build import abstract_state, build_parts, load_domains, require_root
from smdsb_jax.config import Config, from_checkpoint
from smdsb_jax.datasets.domain import UNLABELLED, Domain
from smdsb_jax.defaults import SECTIONS, make
from smdsb_jax.parts import Parts
from smdsb_jax.pseudo_labels import PseudoLabels
from smdsb_jax.pseudo_labels.max_confidence import most_probable
from smdsb_jax.run import checkpoint
from smdsb_jax.run.evaluation import eval_batch_size, jit_eval_step
from smdsb_jax.run.labelling import evidence_of
from smdsb_jax.state import TrainState

REMEDY = "Give the workdir of a finished or stopped run."


class Subject(NamedTuple):
    """One checkpoint, ready to be examined."""

    name: str  # "runs/s2c, stage 1, step 200"
    workdir: Path
    config: Config
    stage: int
    step: int
    parts: Parts  # without dropout and mixup
    state: TrainState
    source: Domain
    target: Domain
    labels: PseudoLabels  # of the target's training clouds; numpy


class Located(NamedTuple):
    """Where a checkpoint lies, before anything of it is read."""

    workdir: Path
    total_step: int
    stage: int
    step: int
    config: dict


def find_checkpoints(workdir: str | Path, every: bool = False) -> list[Located]:
    """The last checkpoint of each stage of a run, or every one it has.

    Raises:
      ValueError: no checkpoints there.
    """
    workdir = Path(workdir)
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"{workdir} is not the workdir of a run: it has no checkpoints/. {REMEDY}")
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        infos = [checkpoint.info(checkpointer, c.step) for c in checkpointer.checkpoints]
    if not infos:
        raise ValueError(f"{workdir}/checkpoints is empty. {REMEDY}")
    last = {i.stage: i.total_step for i in sorted(infos, key=lambda i: i.total_step)}
    wanted = [i for i in infos if every or i.total_step in last.values()]
    return [
        Located(workdir, i.total_step, i.stage, i.step, i.config)
        for i in sorted(wanted, key=lambda i: i.total_step)
    ]


def has_pretext(found: Located, allow: Collection[str] = ()) -> bool:
    """Whether the checkpoint was trained with a pretext task, whose gradients could conflict.

    Raises:
      ValueError: it names code that is not allowed.
    """
    config = from_checkpoint(found.config, allow, found.workdir)
    return (found.stage == 1 or config.stage2.pretext) and bool(make(config, "pretext").names)


def open_subject(found: Located, root: str | None = None, allow: Collection[str] = ()) -> Subject:
    """Restore a checkpoint whole, the pretext task's state included, and load its data.

    Pseudo-labels are those in use in stage 2; in stage 1 those that its network would give.

    Args:
      found: which one.
      root: folder of the data set, if it has moved.
      allow: as for `smdsb_jax.load`.

    Raises:
      ValueError: code that is not allowed, data that cannot be read or have other classes, a target without
        labels, a checkpoint that cannot be read.
    """
    config = from_checkpoint(found.config, allow, found.workdir)
    if root is not None:
        config.data.root = root
    # an analysis draws no dropout, and a mixed cloud would be no sample
    config.classification.mixup = "none"
    for section in (config.classification, *(config[name] for name in SECTIONS)):
        if "dropout" in section:  # what every entry calls this option
            section.dropout = 0.0
    require_root(config, found.workdir)
    source, target = load_domains(config)
    if (target.train.label == UNLABELLED).any():
        raise ValueError(
            f"{found.workdir}: the laboratory compares with the target's classification gradient, "
            f"and training clouds of {target.name} have no labels."
        )
    with checkpoint.open_checkpoints(found.workdir) as checkpointer:
        classes = checkpoint.info(checkpointer, found.total_step).classes
        if classes != source.classes:
            raise ValueError(
                f"{found.workdir} was trained on the classes {', '.join(classes)}; the data at hand have "
                f"{', '.join(source.classes)}. Give the run's own data with --root."
            )
        parts = build_parts(config, found.stage, len(classes))
        place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shape = target.train.label.shape if found.stage == 2 else None
        state, labels = checkpoint.restore(
            checkpointer, found.total_step, abstract_state(parts, place), shape
        )
    if labels is None:
        step = jit_eval_step(config, len(classes))
        batch = eval_batch_size(config)
        labels = most_probable(evidence_of(step, state.variables, target.train, None, batch).target)
    name = f"{found.workdir}, stage {found.stage}, step {found.step}"
    return Subject(
        name, found.workdir, config, found.stage, found.step, parts, state, source, target,
        jax.tree.map(np.asarray, labels),
    )  # fmt: skip
