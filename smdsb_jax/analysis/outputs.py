"""What the headline's network of a finished run makes of a domain's clouds."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smdsb_jax.build import load_domain, load_target, require_root
from smdsb_jax.datasets.domain import Domain, Split, labelled
from smdsb_jax.inference import Model, load
from smdsb_jax.run.evaluation import eval_batch_size, eval_program, labels_and_outputs


class Opened(NamedTuple):
    """A run's network and the domains that it was trained on."""

    name: str  # for readers
    model: Model
    source: Domain
    target: Domain


def by_name(runs: Sequence[Opened], workdirs: Sequence[Path]) -> dict[str, Opened]:
    """Runs by their names, each once: where two have the same, by their folders' names too."""
    names = [run.name for run in runs]
    return {
        run.name if names.count(run.name) == 1 else f"{run.name}, {workdir.name}": run
        for run, workdir in zip(runs, workdirs, strict=True)
    }


class Outputs(NamedTuple):
    """Of some clouds that have labels."""

    label: Int[np.ndarray, "n *points"]  # the true ones
    logits: Float[np.ndarray, "n *points classes"]
    embedding: Float[np.ndarray, "n d"]


def open_run(
    workdir: Path, root: str | None = None, allow: Collection[str] = (), stage: int | None = None
) -> Opened:
    """The checkpoint that the run's own `select_by` chooses, of its latest stage or of a given one.

    Args:
      workdir: of the run.
      root: folder of the data set, if it has moved.
      allow: as for `smdsb_jax.load`.
      stage: 1 or 2; None: the latest.

    Raises:
      ValueError: no such run or stage, code that is not allowed, or data that are not found.
    """
    model = load(workdir, stage=stage, allow=allow)
    data = model.config.data
    data.root = data.root if root is None else root
    data.extra_classes = "unlabelled"  # what has no class of the run is left out below
    require_root(model.config, workdir)
    selection = model.config.selection
    how = "no selection" if selection.statistic == "none" else f"{selection.statistic} {selection.side}"
    name = f"{model.config.pretext.name}, {how}, {data.source} → {data.target}, seed {model.config.seed}"
    domains = load_domain(model.config, "source"), load_target(model.config, model.classes)
    return Opened(f"{name}, stage {model.stage}", model, *domains)


def outputs(opened: Opened, split: Split, what: str) -> Outputs:
    """Of the clouds of a split that have labels.

    Raises:
      ValueError: there are none; `what` says whose.
    """
    known, model = labelled(split), opened.model
    if not len(known.label):
        raise ValueError(f"{opened.name}: it needs labels of {what}, which has none: give a run with such.")
    step = eval_program(model.network, model.config)
    label, found = labels_and_outputs(step, model.variables, known, eval_batch_size(model.config))
    return Outputs(label, np.asarray(found.logits), np.asarray(found.embedding))


def per_cloud(opened: Opened, figure: str) -> Opened:
    """The same run, if its clouds have one label each.

    Raises:
      ValueError: each of their points has one.
    """
    if opened.model.network.task.per_point:
        raise ValueError(f"{opened.name}: {figure} needs one label per cloud. Give a run of classification.")
    return opened
