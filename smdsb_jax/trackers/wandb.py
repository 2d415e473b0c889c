"""Weights & Biases."""

import importlib
import logging
import os

from smdsb_jax.trackers.base import PROJECT, Numbers, Start, Tracker, keep_run, kept_run, tolerant

UPLOAD = 300  # seconds that the end of a run waits for what is not uploaded yet


def wandb(start: Start) -> Tracker:
    """A run of Weights & Biases, its files below `wandb/`   [https://docs.wandb.ai].

    `WANDB_MODE=offline` (then `wandb sync`), `WANDB_PROJECT` and `WANDB_NAME` are respected. Records are
    handed to a process of wandb's own, which uploads them and tries again while the network is away: the
    training does not wait, and what is not uploaded stays in the folder. Where wandb cannot begin (no key, no
    network within 90 s), that is said and the training goes on untracked.

    A resumed training goes on with the same run; offline, with another folder of the same id. wandb drops
    rows whose own step goes back. So its own step counts rows, and the charts' axis is the field `step`: a
    step that comes again is a second, equal point.
    """
    return tolerant("wandb", _begin, start)


def _begin(start: Start) -> Tracker:
    package = importlib.import_module("wandb")
    kept = kept_run(start, "wandb")
    run = package.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=os.environ.get("WANDB_NAME", start.workdir.name),
        id=kept or None,
        resume="allow" if kept else None,
        dir=str(start.workdir),
        config=None if kept else dict(start.config),
        reinit="create_new",  # leaves alone a run that the user's own program has open
        # the terminal has a progress bar; what wandb would say of the run is said below
        settings=package.Settings(console="off", silent=True, finish_timeout=UPLOAD),
    )
    for handler in logging.getLogger("wandb").handlers:  # of a full disk each line would be a traceback
        handler.handleError = lambda record: None
    keep_run(start, "wandb", run.id)
    run.define_metric("*", step_metric="step")
    offline = f"offline, below {start.workdir / 'wandb'}"
    start.say(f"wandb: run {run.id}, {offline if run.settings.mode == 'offline' else run.url}")

    def scalars(stage: int, step: int, values: Numbers) -> None:
        run.log({"stage": stage, "step": step, **values})

    def close(failed: bool) -> None:
        run.finish(exit_code=int(failed))

    return Tracker(scalars, close)
