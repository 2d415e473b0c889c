"""How strongly the sample pulls at the last layer."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.el2n import el2n
from smdsb_jax.statistics.scaled import norm


def grand(sample: Sample) -> Float[Array, ""]:
    """Norm of the gradient of the cross-entropy by the last layer, 0 or more.

    ‖p - y‖₂ sqrt(‖h‖² + 1), h = the embedding: the closed form for one linear layer with bias on the
    embedding. The library's heads have more layers, for whose gradient this is an approximation.
    [GraNd, Paul et al., arXiv:2107.07075]
    """
    return el2n(sample) * norm(jnp.append(sample.embedding, 1.0))
