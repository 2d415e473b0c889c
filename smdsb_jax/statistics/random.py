"""A score that knows nothing: the control for every other statistic."""

import jax
from jaxtyping import Array, Float

from smdsb_jax.state import Sample


def random(sample: Sample) -> Float[Array, ""]:
    """Uniform on [0, 1), independent of the sample   [the pilot of SM-DSB, arXiv:2504.15796]."""
    return jax.random.uniform(sample.key, dtype=sample.saliency.dtype)
