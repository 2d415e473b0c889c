"""How much of the saliency a tenth of the points has."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import mass


def top_mass(sample: Sample) -> Float[Array, ""]:
    """Share of Σ |s| on the tenth of the points that has most: 0.1 (all alike) to 1.

    The largest floor(n / 10) of |s|, at least one, over all. 1 for every map that is 0 on the others, as many
    of a small PointNet are in inference mode: such samples tie, and `gini` tells them apart.
    The share of the richest tenth as in [Piketty & Saez 2003, doi:10.1162/00335530360535135].
    """
    share = mass(sample.saliency)
    return jnp.sum(jax.lax.top_k(share, max(share.size // 10, 1))[0])
