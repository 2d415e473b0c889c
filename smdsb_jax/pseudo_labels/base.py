"""What a pseudo-label rule is."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from smdsb_jax.state import Predictions


class PseudoLabels(NamedTuple):
    """Of a domain's training clouds, in stored order; one per cloud or per point, as the task's labels."""

    label: Int[Array, "clouds *points"]
    weight: Float[Array, "clouds *points"]  # of the label's loss; 0 leaves the cloud to the pretext task
    confidence: Float[Array, "clouds *points"]  # probability of the label


class Evidence(NamedTuple):
    """What a rule may know: the network's predictions of all training clouds."""

    target: Predictions
    source: Predictions | None = None  # for rules that say `needs_source`
    source_label: Int[Array, "sources *points"] | None = None  # the true ones


def unchanged(
    key: jax.Array, labels: PseudoLabels, evidence: Evidence, progress: Float[Array, ""]
) -> PseudoLabels:
    """The refinement of a rule that labels once."""
    del key, evidence, progress
    return labels


def any_classes(classes: int) -> None:
    """The check of a rule that serves any number of classes."""
    del classes


class PseudoLabelRule(NamedTuple):
    """Pure functions; options are bound when it is made.

    - `assign(key, evidence) -> labels`: by the network of stage 1, before stage 2.
    - `refine(key, labels, evidence, progress) -> labels`: by the network as it is then, `refinements` times,
      evenly spaced within stage 2; `progress` is the share of the stage that is done, above 0 and below 1.
    - `needs_source`: whether the evidence must have the source.
    - `may_leave_out`: whether a label may weigh 0.
    - `draws_chosen`: whether mini-batches are of the target's clouds with a weight above 0 alone, where there
      are any.
    - `per_cloud`: whether it can label whole clouds only, not their points.
    - `check(classes)`: raises ValueError where the options cannot serve so many classes, before any work.
    """

    assign: Callable[[jax.Array, Evidence], PseudoLabels]
    refine: Callable[[jax.Array, PseudoLabels, Evidence, Float[Array, ""]], PseudoLabels] = unchanged
    refinements: int = 0
    needs_source: bool = False
    may_leave_out: bool = False
    draws_chosen: bool = False
    per_cloud: bool = False
    check: Callable[[int], None] = any_classes
