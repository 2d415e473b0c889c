"""Kurtosis of the saliency map: how heavy its tails are, on either side."""

from jaxtyping import Array, Float

from smdsb_jax.state import Sample
from smdsb_jax.statistics.scaled import standardized_moment


def kurtosis(sample: Sample) -> Float[Array, ""]:
    """Fourth standardized moment of the saliency map less the normal's 3, population form.

    mean((s - mean s)^4) / std(s)^4 - 3, at least -2, no unit; 0 where the spread of the map is rounding.
    High where few points stand out, with whichever sign; in skewness the signs cancel.
    [Joanes & Gill 1998, doi:10.1111/1467-9884.00122]
    """
    return standardized_moment(sample.saliency, 4, flat=3.0) - 3.0
