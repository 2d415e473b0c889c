"""How far the prediction is from the label."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import norm


def el2n(sample: Sample) -> Float[Array, ""]:
    """Error norm ‖softmax(logits) - onehot(y)‖₂, 0 to sqrt(2)   [EL2N, Paul et al., arXiv:2107.07075]."""
    probability = jax.nn.softmax(sample.logits)
    own = jnp.arange(probability.size) == sample.label
    others = jnp.where(own, 0.0, probability)
    # p_y - 1 = -Σ of the others, which does not round to 0 where p_y is nearly 1
    return norm(jnp.where(own, -jnp.sum(others), others))
