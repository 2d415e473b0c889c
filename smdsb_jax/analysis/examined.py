"""What the laboratory knows of one checkpoint: scores and agreement of some training samples, as arrays."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

SOURCE, TARGET, TARGET_TRUE = "source", "target", "target, true labels"
DOMAINS = (SOURCE, TARGET, TARGET_TRUE)  # the last one: what could be known with labels that nobody has


class Examined(NamedTuple):
    """One row per sample and domain; `target` rows are scored under pseudo-labels.

    The samples of `target, true labels` are those of `target`, in the same order: what differs is the label
    under which they are scored.
    """

    name: str  # of the checkpoint, for titles: group, seed, stage, step
    group: str  # checkpoints of one group differ in the seed only: "defrec, skewness, c2s"
    seed: int
    stage: int
    step: int
    statistic: str  # by which the run selects, or none
    classes: tuple[str, ...]  # ("all",) where labels are of points
    domain: Shaped[np.ndarray, " rows"]  # of strings, one of DOMAINS
    index: Int[np.ndarray, " rows"]  # row of the domain's training split
    batch: Int[np.ndarray, " rows"]  # mini-batch in which it was examined
    label: Int[np.ndarray, " rows"]  # under which it is scored
    predicted: Int[np.ndarray, " rows"]
    kept: Bool[np.ndarray, " rows"]  # by the run's statistic (else skewness), in its mini-batch and domain
    scores: dict[str, Float[np.ndarray, " rows"]]  # by statistic
    measures: dict[str, Float[np.ndarray, " rows"]]  # by measure of agreement; high is good
    covariates: dict[str, Float[np.ndarray, " rows"]]  # loss, confidence: for partial correlations
    saliency_shares: dict[str, Float[np.ndarray, " rows"]]  # of the points, of those with next to none
    shown: Int[np.ndarray, " shown"]  # rows that have a cloud below, the same samples in both target domains
    points: Float[np.ndarray, "shown n 3"]  # z up
    saliency: Float[np.ndarray, "shown n"]
