"""Trackers: where a run's records go beside `metrics.jsonl`, to be looked at while it trains."""

import importlib

from smdsb_jax.registry import lookup
from smdsb_jax.trackers.base import Entry, Start, Tracker
from smdsb_jax.trackers.mlflow import mlflow
from smdsb_jax.trackers.none import none
from smdsb_jax.trackers.tensorboard import tensorboard
from smdsb_jax.trackers.wandb import wandb

TRACKERS: dict[str, Entry] = {
    "tensorboard": Entry(tensorboard, writes="tensorboard"),  # files in the run's folder, without a network
    "wandb": Entry(wandb, ("wandb",), "wandb", "wandb"),  # runs of many machines in one place, hosted
    "mlflow": Entry(  # the same on a server of one's own, or in a file
        mlflow, ("mlflow", "sqlalchemy", "alembic"), "mlflow-skinny sqlalchemy alembic", "mlflow.db"
    ),
    "none": Entry(none),  # nothing but metrics.jsonl
}


def find_tracker(name: str) -> Entry:
    """The tracker of this name; nothing is imported for it.

    Raises:
      ValueError: an unknown name.
    """
    return lookup(TRACKERS, name, "config.tracker")


def require_tracker(name: str) -> None:
    """Import what a tracker needs, before any work.

    Raises:
      ValueError: an unknown name, or what it needs is not installed.
    """
    entry = find_tracker(name)
    for module in entry.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise ValueError(f"config.tracker = {name!r} needs: pip install {entry.install}") from None


__all__ = ["TRACKERS", "Entry", "Start", "Tracker", "find_tracker", "require_tracker"]
