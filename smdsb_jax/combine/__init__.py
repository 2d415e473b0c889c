"""Rules that merge the encoder gradients of the tasks into one; the first task is the classification."""

from collections.abc import Callable

from smdsb_jax.combine.base import SPLITS, Combine, Merged, Tasks, Told, task_names, task_of
from smdsb_jax.combine.pcgrad import pcgrad
from smdsb_jax.combine.sum import sum_gradients

COMBINE: dict[str, Callable[..., Combine]] = {
    "sum": sum_gradients,  # what every host does
    "pcgrad": pcgrad,  # removes the component along which two tasks conflict
}

__all__ = ["COMBINE", "SPLITS", "Combine", "Merged", "Tasks", "Told", "task_names", "task_of"]
