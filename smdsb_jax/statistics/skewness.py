"""Skewness of the saliency map: the statistic of SM-DSB."""

import math

from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import standardized_moment


def skewness(sample: Sample) -> Float[Array, ""]:
    """Third standardized moment of the saliency map, population form   [SM-DSB, arXiv:2504.15796, III-C].

    mean((s - mean s)^3) / std(s)^3, no unit; 0 where the spread of the map is rounding (std < 1e-6 max|s|),
    NaN where the map is not finite: the selector keeps such a sample last.
    """
    return standardized_moment(sample.saliency, 3, flat=0.0)


def adjusted_skewness(sample: Sample) -> Float[Array, ""]:
    """Skewness adjusted to the number of points, G1   [Joanes & Gill 1998, doi:10.1111/1467-9884.00122].

    skewness * sqrt(n (n - 1)) / (n - 2); 0 below three points. All clouds of a run have the same n, so it
    ranks, and selects, as skewness does (factor 1.0015 at 1,024 points); it compares runs of different n.
    """
    n = sample.saliency.size
    return skewness(sample) * (math.sqrt(n * (n - 1)) / max(n - 2, 1))
