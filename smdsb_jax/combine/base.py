"""What a combination rule is."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
from jaxtyping import Array, Float

from smdsb_jax.state import Tree

Tasks: TypeAlias = tuple[str, ...]  # "class" first; then pretext tasks, as `task_names` splits them
SPLITS = ("task", "domain", "loss")


class Told(NamedTuple):
    """What a rule may know beside the gradients; arrays in the order of the names."""

    tasks: Tasks
    losses: Float[Array, " tasks"]  # with their weights, as in the gradients
    solved: Float[Array, " tasks"]  # share of the samples that are solved, such as the accuracy; NaN: unknown
    progress: Float[Array, ""]  # share of the stage done, 0 to 1


class Merged(NamedTuple):
    """What a rule makes of the gradients of one step."""

    encoder: Tree  # the gradient
    state: Tree  # of the rule
    head_weights: Float[Array, " tasks"] | None = None  # of each task's gradient of heads; None: 1
    metrics: dict[str, Float[Array, ""]] | None = None  # to record, below `combine/`
    weights: Float[Array, " tasks"] | None = None  # of the tasks in `encoder`, to record; None: all 1


class Combine(NamedTuple):
    """An optax-like pair of pure functions.

    - `init(params, tasks) -> state`: by the encoder's parameters and the names of the tasks. What a rule
      learns, such as weights, is part of its state and learned by `update`.
    - `update(key, gradients, told, state) -> Merged`: one encoder gradient per task. Heads keep their own
      tasks' gradients, weighed by `head_weights`. Loss weights are in the gradients; weight decay is not.
    """

    init: Callable[[Tree, Tasks], Tree]
    update: Callable[[jax.Array, tuple[Tree, ...], Told, Tree], Merged]


def task_names(split: str, losses: Tasks, joint: bool) -> Tasks:
    """The tasks whose gradients a rule gets, by the names of a pretext task's losses.

    Args:
      split: `task`: the classification and all of the pretext task; `domain`: the latter's domains apart, and
        its joint losses; `loss`: its single losses apart, each of both domains.
      losses: names of the pretext task's losses.
      joint: whether it has joint losses.
    """
    if split == "task":
        return ("class", "pretext")
    if split == "domain":
        return ("class", "pretext/source", "pretext/target", *(["pretext/joint"] if joint else []))
    return ("class", *(f"pretext/{name}" for name in losses))


def task_of(split: str, domain: str, loss: str) -> str:
    """The task that a loss of a domain (source, target or joint) belongs to."""
    return {"task": "pretext", "domain": f"pretext/{domain}", "loss": f"pretext/{loss}"}[split]
