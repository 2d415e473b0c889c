"""L-skewness of the saliency map: skewness from a linear combination of its sorted values."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import scaled


def l_skewness(sample: Sample) -> Float[Array, ""]:
    """L-moment ratio l3 / l2 of the saliency map, in [-1, 1].

    l2 = 2 b1 - b0 and l3 = 6 b2 - 6 b1 + b0 from the unbiased probability weighted moments
    b_r = mean of s_(i) (i-1)…(i-r) / ((n-1)…(n-r)), i = 1…n in ascending order.
    [Hosking 1990, doi:10.1111/j.2517-6161.1990.tb01775.x]

    No power of a saliency enters, so single points move it less than skewness. 0 where the spread of the map
    is rounding (l2 < 1e-6 max|s|).
    """
    s, _, zero = scaled(jnp.sort(sample.saliency))
    deviation = s - jnp.mean(s)  # b0 = 0: no cancellation between the weights
    n, i = s.size, np.arange(1, s.size + 1)
    second = 2 * (i - 1) / max(n - 1, 1) - 1
    third = 1 - 6 * (i - 1) * (n - i) / max((n - 1) * (n - 2), 1)  # 6 b2 - 6 b1 + b0, collected
    l2 = jnp.mean(jnp.asarray(second, s.dtype) * deviation)
    l3 = jnp.mean(jnp.asarray(third, s.dtype) * deviation)
    spread = l2 > 1e-6
    return jnp.where(spread, l3 / jnp.where(spread, l2, 1.0), zero)
