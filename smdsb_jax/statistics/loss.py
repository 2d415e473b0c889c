"""The classification loss itself: what the network finds hard."""

from jaxtyping import Array, Float

from smdsb_jax.state import Sample


def loss(sample: Sample) -> Float[Array, ""]:
    """Cross-entropy of the sample's label, -log p_y, in nats, 0 or more.

    Low losses kept: the small-loss criterion of [Co-teaching, Han et al., arXiv:1804.06872].
    """
    return sample.loss
