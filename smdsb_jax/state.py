"""The PyTrees that pass between the parts: what a batch, an encoder's output and a run's state are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

Tree = Any  # a PyTree of arrays
Variables = dict[str, dict[str, Tree]]  # {"params" | "batch_stats": {"encoder" | "head" | "pretext": …}}


class Features(NamedTuple):
    """What an encoder makes of a batch of clouds."""

    embedding: Float[Array, "batch d"]
    layers: tuple[Float[Array, "batch n c"], ...]  # per-point features, shallow to deep
    nodes: Float[Array, "batch nodes c"] | None = None  # of the parts of a cloud, where the encoder has such

    @property
    def per_point(self) -> Float[Array, "batch n c"]:
        """All per-point layers side by side."""
        return jnp.concatenate(self.layers, axis=-1)


class Clouds(NamedTuple):
    """One domain's half of a mini-batch, z up; labels per cloud or per point."""

    points: Float[Array, "batch n 3"]
    label: Int[Array, "batch *points"] | None = None  # true (source), pseudo (target, stage 2) or unknown
    weight: Float[Array, "batch *points"] | None = None  # of the label's loss; None: 1


class Batch(NamedTuple):
    """A mini-batch. In stage 1 `target.label` is None, and the step makes no target class pass."""

    source: Clouds
    target: Clouds


class Pair(NamedTuple):
    """Anything that both domains have; None where one has it not."""

    source: Any
    target: Any


class Predictions(NamedTuple):
    """What a network makes of clouds, in inference mode."""

    logits: Float[Array, "n *points classes"]
    embedding: Float[Array, "n d"]


class Sample(NamedTuple):
    """All that the step knows of one sample; what a selection statistic scores."""

    points: Float[Array, "n 3"]
    gradient: Float[Array, "n 3"]  # of the sample's classification loss with respect to its points
    saliency: Float[Array, " n"]
    embedding: Float[Array, " d"]
    logits: Float[Array, "*points classes"]
    loss: Float[Array, ""]  # cross-entropy, the mean over the points that have labels
    label: Int[Array, "*points"]  # true (source) or pseudo (target)
    key: jax.Array
    # weighted, at the network before the step, in inference mode; None where no statistic needs it
    pretext_loss: Float[Array, ""] | None = None


class TrainState(struct.PyTreeNode):
    """All that changes while a stage runs; saved whole in each checkpoint."""

    step: Tree  # int32 []: optimizer updates of this stage
    key: Tree  # root of the stage's randomness; the step folds `step` in
    variables: Variables
    opt_state: optax.OptState
    pretext: Tree  # e.g. an EMA teacher; () for tasks without state
    combine: Tree  # e.g. running gradient norms; () for rules without state
