"""What the labels of a data set are: what a network's output means under them, and how it is scored."""

from collections.abc import Callable

from smdsb_jax.tasks.base import Label, Output, Task
from smdsb_jax.tasks.classification import classification, cross_entropy
from smdsb_jax.tasks.segmentation import segmentation

TASKS: dict[str, Callable[..., Task]] = {
    "classification": classification,  # one label per cloud: the paper's first benchmark
    "segmentation": segmentation,  # one label per point: its second
}

__all__ = ["TASKS", "Label", "Output", "Task", "cross_entropy"]
