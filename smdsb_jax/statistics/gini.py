"""Gini coefficient of the saliency mass: how unequally the points share it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import mass


def gini(sample: Sample) -> Float[Array, ""]:
    """Gini coefficient of |s|: 0 where all points share alike, 1 - 1/n where one has all.

    Σ (2 i - n - 1) |s|_(i) / (n Σ |s|), i = 1…n in ascending order   [Hurley & Rickard, arXiv:0811.4706]
    """
    share = jnp.sort(mass(sample.saliency))
    n = share.size
    weight = (2 * np.arange(1, n + 1) - n - 1) / n
    return jnp.sum(jnp.asarray(weight, share.dtype) * share)
