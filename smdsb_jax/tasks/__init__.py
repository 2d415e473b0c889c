"""What the labels of a data set are: what a network's output means under them, and how it is scored."""

from collections.abc import Callable

from smdsb_jax.tasks.base import Label, Output, Task
from smdsb_jax.tasks.classification import classification, cross_entropy

TASKS: dict[str, Callable[..., Task]] = {
    "classification": classification,  # one label per cloud: the paper's first benchmark
}

__all__ = ["TASKS", "Label", "Output", "Task", "cross_entropy"]
