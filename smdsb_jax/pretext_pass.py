"""The pretext passes of a step: both domains' kept samples, then what is of both together."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.accumulate import OfPart, over_parts
from smdsb_jax.combine import task_of
from smdsb_jax.network import Train, passes_of
from smdsb_jax.parts import Parts
from smdsb_jax.pretext import View, build_view, prepare
from smdsb_jax.selection import Selection, kept_count, kept_rows, masked_mean, mean_divisor
from smdsb_jax.state import Batch, Clouds, Pair, TrainState, Tree, Variables

Metrics = dict[str, Array]


class PretextRecord(NamedTuple):
    """What the pretext passes leave beside their losses."""

    named: Metrics
    solved: dict[str, list[Float[Array, " rows"]]]  # task → of each domain, how far its samples are solved
    batch_stats: Tree


class Rows(NamedTuple):
    """What the pretext passes get of each sample; None of a domain that has no pass."""

    prepared: Pair
    keep: Pair  # whether it counts, [rows]


class Divisor(NamedTuple):
    """What makes a sum over the kept rows of a mini-batch their mean: share · sum / number."""

    share: float  # of the mini-batch, that the rows are
    number: int | Array


class Whole(NamedTuple):
    """A mini-batch, ready for the pretext passes."""

    rows: Rows
    divisors: Pair
    keys: tuple[jax.Array, ...]  # of the losses of source, target and both together


@jax.named_scope("prepare")
def prepare_batch(
    parts: Parts, key: jax.Array, *, state: TrainState, stored: Batch, augmented: Batch, keep: Pair
) -> Whole:
    """All that is drawn, deformed and mixed for the pretext passes of both domains, before any of them."""
    prepared, divisors = Pair(None, None), Pair(None, None)
    loss_keys = dict(zip(Batch._fields, jax.random.split(key), strict=True))
    for domain, domain_key in loss_keys.copy().items():
        if not parts.pretext.names or (domain == "source" and not parts.pretext_on_source):
            continue
        clouds, before, mask, batch = pretext_rows(parts.selection, augmented, stored, keep, domain)
        view = build_view(clouds, before, domain, state.step / parts.steps)
        own, loss_keys[domain] = prepare(parts.pretext, view, domain_key)
        prepared, keep = prepared._replace(**{domain: own}), keep._replace(**{domain: mask})
        divisors = divisors._replace(**{domain: divisor_of(parts.selection, mask, batch)})
    return Whole(Rows(prepared, keep), divisors, (*loss_keys.values(), jax.random.fold_in(key, 2)))


def pretext_losses(
    parts: Parts,
    keys: tuple[jax.Array, ...],
    params: Tree,
    *,
    batch_stats: Tree,
    state: TrainState,
    rows: Rows,
    divisors: Pair,
) -> tuple[list[Float[Array, ""]], PretextRecord]:
    """The weighted pretext losses of the kept samples, one for each task of the rule but the first.

    Source, then target, each normalized by its own batch, then both together. The divisors are those of the
    mini-batch, of which the rows may be a part: its losses add up over the parts.
    """
    task, passes = parts.pretext, passes_of(parts.network)
    variables = {"params": params, "batch_stats": batch_stats}
    totals = {name: jnp.zeros(()) for name in parts.tasks[1:]}
    named: Metrics = {}
    solved: dict[str, list[Array]] = {}
    losses_of = task.loss
    for domain, loss_key in zip(Batch._fields, keys, strict=False):
        prepared, mask, divisor = (getattr(of, domain) for of in (*rows, divisors))
        if prepared is None or losses_of is None:
            continue
        with jax.named_scope(f"pretext_{domain}"):
            found = losses_of(passes, variables, state.pretext, prepared, loss_key)
        variables = found.variables
        for name, loss in found.per_sample.items():
            value = mean_of_kept(loss, mask, divisor)
            named[f"pretext/{domain}/{name}"] = value
            totals[task_of(parts.combine_split, domain, name)] += value
        for name, values in (found.solved or {}).items():
            solved.setdefault(task_of(parts.combine_split, domain, name), []).append(values)
    if task.joint is not None:
        with jax.named_scope("pretext_joint"):
            joint, variables = task.joint(passes, variables, state.pretext, *rows, keys[2])
        for name, value in joint.items():
            named[f"pretext/joint/{name}"] = value
            totals[task_of(parts.combine_split, "joint", name)] += value
    weighed = [parts.pretext_weight * total for total in totals.values()]
    return weighed, PretextRecord(named, solved, variables["batch_stats"])


def add_pretext_losses(
    parts: Parts, key: jax.Array, state: TrainState, stored: Batch, augmented: Batch, samples: Pair
) -> Pair:
    """The samples with the pretext loss of each, of the views that `pretext_losses` draws from the same key.

    In inference mode, in which a sample's loss is its own, whatever the saliency is of.
    """
    found = []
    for domain, domain_key in zip(Batch._fields, jax.random.split(key), strict=True):
        own, clouds, before = (getattr(of, domain) for of in (samples, augmented, stored))
        if own is not None:
            view = build_view(clouds, before, domain, state.step / parts.steps)
            own = own._replace(
                pretext_loss=losses_of_samples(
                    parts, state.variables, state.pretext, view, domain_key, parts.accumulate
                )
            )
        found.append(own)
    return Pair(*found)


def losses_of_samples(
    parts: Parts, variables: Variables, state: Tree, view: View, key: jax.Array, count: int = 1
) -> Float[Array, " batch"]:
    """The weighted pretext loss of each sample in inference mode, as a constant; in `count` parts.

    Raises:
      ValueError: a task without losses per sample.
    """
    prepared, loss_key = prepare(parts.pretext, view, key)

    def of_part(key: jax.Array, carried: Tree, prepared: Tree) -> OfPart:
        return OfPart((), weighed_losses(parts, variables, state, prepared, key, train=False), carried)

    return jax.lax.stop_gradient(over_parts(count, of_part, loss_key, (), prepared).rows)


def weighed_losses(
    parts: Parts, variables: Variables, state: Tree, prepared: Tree, key: jax.Array, train: Train
) -> Float[Array, " batch"]:
    """The pretext losses of prepared samples, the host's weights included, not divided by the batch.

    Raises:
      ValueError: a task without losses per sample.
    """
    if parts.pretext.loss is None:
        raise ValueError(
            "The pretext task has joint losses only: no sample has a loss or gradient of its own."
        )
    found = parts.pretext.loss(passes_of(parts.network), variables, state, prepared, key, train=train)
    return parts.pretext_weight * sum(found.per_sample.values(), jnp.zeros(()))


def pretext_rows(
    selection: Selection | None, augmented: Batch, stored: Batch, keep: Pair, domain: str
) -> tuple[Clouds, Clouds, Bool[Array, " rows"], int]:
    """A domain's clouds for the pretext task, augmented and stored, their mask, and the batch they are of.

    All of them, or with `execution = "gather"` the kept ones alone.
    """
    clouds, before, mask = (getattr(of, domain) for of in (augmented, stored, keep))
    batch = mask.shape[0]
    if selection is None or selection.execution != "gather":
        return clouds, before, mask, batch
    if domain == "target" and clouds.label is None and not selection.freeze_unlabelled:
        return clouds, before, mask, batch  # all are kept
    rows = kept_rows(mask, kept_count(selection.keep_ratio, batch))
    clouds, before = jax.tree.map(lambda array: array[rows], (clouds, before))
    return clouds, before, jnp.ones(len(rows), bool), batch


def divisor_of(selection: Selection | None, mask: Bool[Array, " rows"], batch: int) -> Divisor:
    """By the selection's denominator, of a mini-batch of which the rows may be a part."""
    denominator = "batch" if selection is None else selection.denominator
    share = mask.shape[0] / batch if denominator == "batch" else 1.0
    return Divisor(share, mean_divisor(mask, denominator))


def mean_of_kept(
    loss: Float[Array, " rows"], mask: Bool[Array, " rows"], divisor: Divisor
) -> Float[Array, ""]:
    """The mean loss of the kept samples; of a part of the mini-batch, its share of that mean."""
    return divisor.share * masked_mean(loss, mask, divisor.number)
