"""The pretext loss itself: what the network finds hard of the task that the sample is selected for."""

from jaxtyping import Array, Float

from smdsb_jax.state import Sample


def pretext_loss(sample: Sample) -> Float[Array, ""]:
    """The weighted pretext loss of the sample, in the unit of its task.

    Low losses kept: the small-loss criterion of [Co-teaching, Han et al., arXiv:1804.06872], of the task that
    it is to spare.
    """
    assert sample.pretext_loss is not None  # the statistic says that it needs one
    return sample.pretext_loss
