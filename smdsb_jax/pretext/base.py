"""What a pretext task is."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
from jaxtyping import Array, Float, Int

from smdsb_jax.network import Passes, Train
from smdsb_jax.state import Clouds, Features, Pair, Tree, Variables


class View(NamedTuple):
    """What a pretext loss may see of one domain's half of the mini-batch."""

    points: Float[Array, "batch n 3"]  # the augmented clouds of the classification pass (before any mixing)
    stored: Float[Array, "batch stored 3"]  # as the data set has them, for views of the task's own
    label: Int[Array, "batch *points"] | None  # true (source), pseudo (target, stage 2) or unknown
    domain: str  # source or target: some hosts treat them differently
    progress: Float[Array, ""]  # share of the stage done, 0 to 1, for ramps


class Losses(NamedTuple):
    """What a pretext task's passes of one domain give."""

    per_sample: dict[str, Float[Array, " batch"]]
    variables: Variables  # with new batch statistics
    solved: dict[str, Float[Array, " batch"]] | None = None  # loss → how far each sample is solved, 0 to 1


def build_view(augmented: Clouds, stored: Clouds, domain: str, progress: Float[Array, ""]) -> View:
    """The view of one domain, the same for the step and for analyses."""
    return View(augmented.points, stored.points, augmented.label, domain, progress)


def prepare(pretext: "Pretext", view: View, key: jax.Array) -> tuple[Tree, jax.Array]:
    """The prepared samples of a view, and the key of their loss, which is another than theirs."""
    prepare_key, loss_key = jax.random.split(key)
    return pretext.prepare(view, prepare_key), loss_key


def unchanged(state: Tree, variables: Variables) -> Tree:
    """The update of a task whose state does not change."""
    del variables
    return state


class PretextLoss(Protocol):
    """The losses of prepared samples, and the variables with new batch statistics."""

    def __call__(  # noqa: D102
        self,
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Tree,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses: ...


class JointLoss(Protocol):
    """The losses of both domains together, and the variables with new batch statistics."""

    def __call__(  # noqa: D102
        self,
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Pair,
        keep: Pair,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> tuple[dict[str, Float[Array, ""]], Variables]: ...


class Pretext(NamedTuple):
    """Pure functions, as an optax transformation; options are bound when it is made.

    - `init(key, features, variables) -> (own, state)`: `own` holds the collections (`params`,
      `batch_stats`) of the task's heads; `state` what else it remembers, such as an EMA teacher.
      `variables` are those of encoder and head, `features` the shapes of an encoder output
      (`jax.ShapeDtypeStruct`, for `lazy_init`).
    - `prepare(view, key) -> prepared`: all that is drawn, deformed or mixed, before any parameter: what the
      encoder is to see and what is to be told of it. Each array has the samples along its first axis, so
      that one sample's pretext loss, and its gradient, can be had apart from the others.
    - `loss(passes, variables, state, prepared, key, *, train=True) -> Losses`: one or several losses **per
      sample**, scaled relative to each other; the step masks, averages and weighs their sum. The task's own
      variables are `variables[…]["pretext"]`. `train` says how its passes normalize, heads included, and is
      passed on. None for a task that has joint losses only.
    - `names`: of all losses, so that rules of combination know them before the first step. None leaves the
      task without a pass.
    - `update(state, variables) -> state`: once per step, after the optimizer.
    - `joint(passes, variables, state, prepared, keep, key, *, train=True) -> ({name: loss}, variables)`: of
      both domains at once, for what is no sum over samples, such as a distance of distributions. `prepared`
      and `keep` (boolean masks [batch], the samples' weights) are pairs of source and target.
    - `per_cloud`: whether it needs one label per cloud, and logits of such.
    """

    init: Callable[[jax.Array, Features, Variables], tuple[dict[str, Tree], Tree]]
    prepare: Callable[[View, jax.Array], Tree]
    loss: PretextLoss | None
    names: tuple[str, ...]
    update: Callable[[Tree, Variables], Tree] = unchanged
    joint: JointLoss | None = None
    per_cloud: bool = False
