"""Reverse validation: a run is worth what its predictions on the target teach about the source.

Its target, labelled by it, is the source of a second run of the same configuration; the accuracy of that one
on the first one's source needs no label of the target   [Zhong et al., ECML PKDD 2010; Ganin et al.,
arXiv:1505.07818, 5.1.2].
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from smdsb_jax.build import load_target
from smdsb_jax.datasets.domain import SPLITS
from smdsb_jax.datasets.labels import write_labels
from smdsb_jax.inference import load
from smdsb_jax.registry import foreign_names
from smdsb_jax.run.evaluation import at_stored_points, eval_batch_size, eval_program, predict_split
from smdsb_jax.sweep.grid import Grid, Run, last_of_each
from smdsb_jax.sweep.plan import Planned

REVERSE = "reverse"  # what it is ranked by, and the second run's folder in that of the first


def reversed_runs(plan: Sequence[Planned]) -> list[Run]:
    """The second runs of the finished ones, whose labels are written where they are not there yet."""
    runs = []
    for planned in plan:
        if planned.progress != "done":
            continue
        run, data = planned.run, planned.config.data
        labels = run.workdir / f"{REVERSE}_labels.npz"
        if not labels.exists():
            write_labels(labels, predicted(run.workdir, foreign_names(planned.config).values()))
        swapped = (f"data.source={data.target}", f"data.target={data.source}", f"data.source_labels={labels}")
        runs.append(run._replace(fields=last_of_each((*run.fields, *swapped)), workdir=run.workdir / REVERSE))
    return runs


def predicted(workdir: Path, allow: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The classes that a run's headline checkpoint predicts of all clouds of its target, by split."""
    model = load(workdir, allow=allow)
    target = load_target(model.config, model.classes)
    step, batch = eval_program(model.network, model.config), eval_batch_size(model.config)
    found = {}
    for name in SPLITS:
        split = getattr(target, name)
        logits = np.zeros((*split.label.shape, len(model.classes)))
        if len(split.label):
            given = predict_split(step, model.variables, split.points, batch)
            logits = at_stored_points(given, split.points)
        found[name] = np.asarray(logits).argmax(axis=-1).astype(np.int32)
    return found


def reverse_grid(grid: Grid) -> Grid:
    """The table of the second runs: no printed values and no differences."""
    return grid._replace(title=f"Reverse validation of {grid.title}", published={}, contrasts={})
