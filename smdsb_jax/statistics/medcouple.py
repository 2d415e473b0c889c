"""Medcouple of the saliency map: a skewness that outliers cannot move."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import scaled

HALVINGS = 25  # of [-1, 1]: to 6e-8


def medcouple(sample: Sample) -> Float[Array, ""]:
    """Median of h over the pairs s_i <= m <= s_j about the median m, in [-1, 1].

    h = ((s_j - m) - (m - s_i)) / (s_j - s_i); of the k points tied with the median, the a-th and the b-th
    have h = sign(a + b - 1 - k)   [Brys, Hubert & Struyf 2004, doi:10.1198/106186004X12632]

    By halving of h: s_j - m <= (m - s_i) (1 + h) / (1 - h) is counted in sorted values, O(n log n) a time,
    without the pairs. 0 where the range of the map is below 1e-6 max|s|. A constant for differentiation.

    Beware: where most saliencies are 0, as in inference mode, the ties decide: the score is -1 or 1 as soon
    as a few more points lie below or above 0, so that many samples tie. `l_skewness` has no such plateaus.
    """
    s, _, zero = scaled(jax.lax.stop_gradient(sample.saliency))
    # sorted last: a compiler may round s - middle once with the product that scaled s, and lose the ties
    s = jnp.sort(s)
    n = s.size
    middle = (s[(n - 1) // 2] + s[n // 2]) / 2
    above = jnp.maximum(s - middle, 0.0)  # ascending; 0 for the others
    below = jnp.maximum(middle - s, 0.0)
    more, less = jnp.sum(above > 0), jnp.sum(below > 0)
    tied = n - more - less
    at_minus_1 = less * tied + tied * (tied - 1) // 2  # and as many at 1, with `more`; `tied` at 0
    # int32 holds the counts of up to 46,340 points
    pairs = (less + tied) * (more + tied)

    def rank(h: Float[Array, ""]) -> Array:
        """How many pairs have a kernel of at most h, -1 < h < 1."""
        limit = below * ((1 + h) / (1 - h))
        # unrolled: on accelerators a loop inside the loop would launch its kernels one by one
        partners = jnp.searchsorted(above, limit, side="right", method="scan_unrolled") - (n - more)
        return at_minus_1 + jnp.where(h >= 0, tied, 0) + jnp.sum(jnp.where(below > 0, partners, 0))

    def smallest(wanted: Array) -> Array:
        """The smallest h with that rank; 0 and 1 exactly, as the first halving is at 0 and 1 the start."""

        def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            h = (low + high) / 2
            enough = rank(h) >= wanted
            return jnp.where(enough, low, h), jnp.where(enough, h, high)

        one = jnp.ones_like(middle)
        found = jax.lax.fori_loop(0, HALVINGS, halve, (-one, one))[1]
        return jnp.where(at_minus_1 >= wanted, -one, found)

    # of an even number of pairs the mean of the middle two
    median = jnp.mean(jax.vmap(smallest)(jnp.stack([(pairs + 1) // 2, pairs // 2 + 1])))
    return jnp.where(s[-1] - s[0] > 1e-6, median, 0.0) + zero
