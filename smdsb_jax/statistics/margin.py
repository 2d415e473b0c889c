"""By how much the prediction prefers the sample's label."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample


def margin(sample: Sample) -> Float[Array, ""]:
    """p_y - max over the other classes of p, p = softmax(logits), in [-1, 1]: high scores are to be kept.

    Below 0 where the label is not what the network predicts. A target's label is a pseudo-label: while that
    is the prediction, this is the largest less the second largest probability.
    [Pleiss et al., arXiv:2001.10528, Eq. 1, there of logits]
    """
    probability = jax.nn.softmax(sample.logits)
    own = jnp.arange(probability.size) == sample.label
    of_label = jnp.sum(jnp.where(own, probability, 0.0))
    return of_label - jnp.max(jnp.where(own, 0.0, probability))
