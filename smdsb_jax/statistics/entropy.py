"""Shannon entropies, of where the saliency lies and of what the network predicts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import mass


def entropy(sample: Sample) -> Float[Array, ""]:
    """Entropy of the saliency mass, -Σ p log p, p = |s| / Σ |s|, in nats.

    0 where one point has all, log n where all share alike: high scores are to be kept.
    [Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x]
    """
    share = mass(sample.saliency)
    return -jnp.sum(share * jnp.log(jnp.where(share > 0, share, 1.0)))  # 0 log 0 = 0


def prediction_entropy(sample: Sample) -> Float[Array, ""]:
    """Entropy of the prediction, -Σ p log p, p = softmax(logits), in nats: 0 (sure) to log(classes).

    It needs no label   [Tent, Wang et al., arXiv:2006.10726].
    """
    log_probability = jax.nn.log_softmax(sample.logits)
    return -jnp.sum(jnp.exp(log_probability) * log_probability)
