"""What a pretext task is."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Int

from smdsb_jax.network import Train
from smdsb_jax.state import Features, Tree, Variables


@runtime_checkable
class Encode(Protocol):
    """One encoder pass: normalized by its own batch when `train`, by running statistics otherwise."""

    def __call__(  # noqa: D102
        self, variables: Variables, points: Float[Array, "batch n 3"], key: jax.Array, *, train: Train = True
    ) -> tuple[Features, Variables]: ...


class View(NamedTuple):
    """What a pretext loss may see of one domain's half of the mini-batch."""

    points: Float[Array, "batch n 3"]  # the augmented clouds of the classification pass (before any mixing)
    stored: Float[Array, "batch stored 3"]  # as the data set has them, for views of the task's own
    label: Int[Array, " batch"] | None  # true (source), pseudo (target, stage 2) or unknown
    domain: str  # source or target: some hosts treat them differently
    progress: Float[Array, ""]  # share of the stage done, 0 to 1, for ramps


def unchanged(state: Tree, variables: Variables) -> Tree:
    """The update of a task whose state does not change."""
    del variables
    return state


class PretextLoss(Protocol):
    """The losses of prepared samples, each [batch], and the variables with new batch statistics."""

    def __call__(  # noqa: D102
        self,
        encode: Encode,
        variables: Variables,
        state: Tree,
        prepared: Tree,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> tuple[dict[str, Float[Array, " batch"]], Variables]: ...


class Pretext(NamedTuple):
    """Pure functions, as an optax transformation; options are bound when it is made.

    - `init(key, features, variables) -> (own, state)`: `own` holds the collections (`params`,
      `batch_stats`) of the task's heads; `state` what else it remembers, such as an EMA teacher.
      `variables` are those of encoder and head, `features` the shapes of an encoder output
      (`jax.ShapeDtypeStruct`, for `lazy_init`).
    - `prepare(view, key) -> prepared`: all that is drawn, deformed or mixed, before any parameter: what the
      encoder is to see and what is to be told of it. Each array has the samples along its first axis, so
      that one sample's pretext loss, and its gradient, can be had apart from the others.
    - `loss(encode, variables, state, prepared, key, *, train=True) -> ({name: loss [batch]}, variables)`: one
      or several losses **per sample**, scaled relative to each other; the step masks, averages and weighs
      their sum. It may call `encode` as often as it likes; the task's own variables are
      `variables[…]["pretext"]`. `train` says how its passes normalize, heads included, and is passed on.
      `key` is the one that `prepare` got: each takes its own parts of it.
    - `update(state, variables) -> state`: once per step, after the optimizer.
    """

    init: Callable[[jax.Array, Features, Variables], tuple[dict[str, Tree], Tree]]
    prepare: Callable[[View, jax.Array], Tree]
    loss: PretextLoss
    update: Callable[[Tree, Variables], Tree] = unchanged
