"""Voted pseudo-labels: a target cloud has the label on which its nearest source clouds agree."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.per_sample import exact_product
from smdsb_jax.pseudo_labels.base import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.registry import check_counts, check_range

BLOCK = 256  # target clouds whose similarities to all source clouds exist at a time
ROUNDING = 1e-6  # of a share of votes, which is a multiple of 1/neighbors: 9 of 10 reach 0.9 on every device
VOTE_WEIGHTS = ("none", "similarity", "class_balanced")


def voted(
    *, neighbors: int = 10, threshold: float = 1.0, vote_weight: str = "none", refinements: int = 139
) -> PseudoLabelRule:
    """The K nearest source embeddings vote, by cosine   [GLRV-like; after Fan et al., CVPR 2022].

    votes v_c = sum of the weights of the neighbors with label c; label = argmax_c v_c, of equal ones that of
    the nearest neighbor among theirs; confidence r = v_label / sum_c v_c. A label weighs 1 where r >=
    threshold, else 0. Nothing is remembered: with each refinement a cloud may enter, leave or change.

    The abstract (doi:10.1109/CVPR52688.2022.00627) has the rule, but no number and no measure of nearness.
    Those here are of a function for reliable voting that others released and never call
    (github.com/zou-longkun/TAG): K = 10, cosine, all ten agree. It walks source and target side by side in
    mini-batches, augmented, and so leaves out a part of the larger one; here all clouds of both take part, as
    in evaluation.

    Args:
      neighbors: K; all source clouds where there are fewer.
      threshold: the share of the votes that is reliable; 0.9 is a milder one.
      vote_weight: of a neighbor's vote. `none`: 1; `similarity`: its cosine, 0 where that is negative;
        `class_balanced`: 1 / the number of source clouds with its label, for classes of unequal sizes.
      refinements: evenly spaced within stage 2; 139 is every epoch of 140, after 10 without votes.

    Raises:
      ValueError: an option out of its range.
    """
    check_counts("pseudo_labels.neighbors", neighbors)
    check_range("pseudo_labels.threshold", threshold, 0, 1)
    check_range("pseudo_labels.refinements", refinements, 0, 1000)
    if vote_weight not in VOTE_WEIGHTS:
        names = ", ".join(map(repr, VOTE_WEIGHTS))
        raise ValueError(f"config.pseudo_labels.vote_weight = {vote_weight!r}: one of {names}.")

    def assign(key: jax.Array, evidence: Evidence) -> PseudoLabels:
        del key
        target, source, source_label = evidence
        assert source is not None and source_label is not None  # for `needs_source`
        index, cosine = most_similar(target.embedding, source.embedding, neighbors)
        classes = target.logits.shape[-1]
        weight = jnp.ones_like(cosine)
        if vote_weight == "similarity":
            weight = jnp.maximum(cosine, 0)
        elif vote_weight == "class_balanced":
            weight = 1 / jnp.zeros(classes, cosine.dtype).at[source_label].add(1)[source_label[index]]
        label, share = count_votes(source_label[index], weight, classes)
        return PseudoLabels(label, (share >= threshold - ROUNDING).astype(share.dtype), share)

    def refine(
        key: jax.Array, labels: PseudoLabels, evidence: Evidence, progress: Float[Array, ""]
    ) -> PseudoLabels:
        del labels, progress
        return assign(key, evidence)

    return PseudoLabelRule(
        assign, refine, refinements, needs_source=True, may_leave_out=threshold > 0, per_cloud=True
    )


def most_similar(
    embedding: Float[Array, "clouds d"], bank: Float[Array, "sources d"], count: int
) -> tuple[Int[Array, "clouds count"], Float[Array, "clouds count"]]:
    """Rows of the bank with the largest cosines to each embedding, the most similar first, and the cosines.

    Embeddings of length 0 have the cosine 0 to all. Memory grows with clouds + sources, not their product.
    """

    def unit(rows: Float[Array, "rows d"]) -> Float[Array, "rows d"]:
        length = jnp.linalg.norm(rows, axis=-1, keepdims=True)
        return rows / jnp.where(length > 0, length, 1)

    bank = unit(bank)

    def of_one(row: Float[Array, " d"]) -> tuple[Array, Array]:
        cosine = exact_product(bank, row[None, :])[:, 0]
        index = jax.lax.top_k(cosine, min(count, bank.shape[0]))[1]
        return index, cosine[index]  # the index alone from top_k: fast on CPUs

    return jax.lax.map(of_one, unit(embedding), batch_size=BLOCK)


def count_votes(
    label: Int[Array, "clouds k"], weight: Float[Array, "clouds k"], classes: int
) -> tuple[Int[Array, " clouds"], Float[Array, " clouds"]]:
    """The class with the most votes of each cloud's neighbors, the nearest first, and its share of all votes.

    Of equal ones the nearest neighbor's; share 0 where no vote weighs anything.
    """
    votes = jnp.sum(jax.nn.one_hot(label, classes) * weight[:, :, None], axis=1)
    total, most = jnp.sum(votes, axis=1), jnp.max(votes, axis=1)
    leads = jnp.take_along_axis(votes, label, axis=1) == most[:, None]
    winner = jnp.take_along_axis(label, jnp.argmax(leads, axis=1)[:, None], axis=1)[:, 0]
    return winner.astype(jnp.int32), most / jnp.where(total > 0, total, 1)
