"""A run's scores on any labelled split of its data set."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from smdsb_jax.build import load_target, require_root
from smdsb_jax.datasets.domain import Split, labelled
from smdsb_jax.inference import Model, load
from smdsb_jax.report.summary import Judged, judge

SPLITS = ("train", "val", "test")


class Evaluation(NamedTuple):
    """What a network makes of labelled clouds."""

    title: str  # domain, split, and which checkpoint
    model: Model
    clouds: Split
    judged: Judged  # their true and predicted classes
    left_out: int  # clouds of other classes than the run's
    scores: Mapping[str, float]  # of the task, in 0 … 1, the headline first: {"accuracy": 0.425, …}

    def __repr__(self) -> str:
        """As `Evaluation(scan test, last of stage 2 (step 200): accuracy 42.5 % of 174 clouds)`."""
        name, value = next(iter(self.scores.items()))
        return f"Evaluation({self.title}: {name} {100 * value:.1f} % of {len(self.clouds.label)} clouds)"


def evaluate(
    run: str | Path | Model,
    domain: str = "",
    split: str = "test",
    *,
    select_by: str = "",
    stage: int | None = None,
    root: str | None = None,
    allow: Collection[str] = (),
) -> Evaluation:
    """Predict the classes of a labelled split and score them.

    Args:
      run: its workdir, or a checkpoint that `smdsb_jax.load` has read.
      domain: any of the run's data set; empty: its target.
      split: train, val or test.
      select_by: which checkpoint, as `smdsb_jax.load` takes it.
      stage: 1 or 2; None: the latest there is.
      root: folder of the data set, if it has moved.
      allow: as `smdsb_jax.load` takes it.

    Raises:
      ValueError: no such run, checkpoint, domain or split, or one without labelled clouds.
    """
    if split not in SPLITS:
        raise ValueError(f"split = {split!r}: one of {', '.join(SPLITS)}.")
    model = run if isinstance(run, Model) else load(run, select_by, stage, allow=allow)
    config = model.config.copy_and_resolve_references()
    config.data.root = config.data.root if root is None else root
    config.data.target = domain or config.data.target
    config.data.extra_classes = "unlabelled"  # another domain may have some that the run does not know
    require_root(config, "the run" if isinstance(run, Model) else run)
    whole = getattr(load_target(config, model.classes), split)
    clouds = labelled(whole)
    if len(clouds.label) == 0:
        raise ValueError(f"The {split} split of {config.data.target} has no labelled clouds to evaluate on.")
    judged = judge(model, clouds)
    scores = model.network.task.scores(*judged, len(model.classes))
    chosen = select_by or config.select_by
    title = f"{config.data.target} {split}, {chosen} of stage {model.stage} (step {model.step})"
    return Evaluation(title, model, clouds, judged, len(whole.label) - len(clouds.label), scores)
