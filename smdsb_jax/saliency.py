"""Per-point saliency: how much the classification of a cloud leans on each of its points."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.state import Sample

# points [n 3], label → (loss, (embedding [d], logits [*points classes]))
LossOfOne = Callable[
    [Float[Array, "n 3"], Int[Array, "*points"]],
    tuple[Float[Array, ""], tuple[Float[Array, " d"], Float[Array, "*points classes"]]],
]


def saliency(points: Float[Array, "n 3"], gradient: Float[Array, "n 3"], alpha: float) -> Float[Array, " n"]:
    """s_i = -(g_i · d_i) |d_i|^alpha with d_i = x_i - center, center = the median per axis.

    Equal to -(∂L/∂r_i) r_i^(1+alpha) in spherical coordinates about the center, without the division:
    a point at the center scores 0. Positive where pulling the point to the center raises the loss, that
    is, where the point supports the decision; `gradient` is ∂L/∂x_i of the sample's classification loss.
    [Zheng et al., arXiv:1812.01687, Eq. 6; SM-DSB, arXiv:2504.15796, III-C]

    A constant for differentiation: no gradient flows through it.
    """
    points, gradient = jax.lax.stop_gradient((points, gradient))
    # the mean of the two middle values, as numpy; torch.median takes the lower one
    offset = points - jnp.median(points, axis=0, keepdims=True)
    radius = jnp.sqrt(jnp.sum(offset**2, axis=-1))
    power = jnp.ones_like(radius) if alpha == 0 else radius**alpha
    return -jnp.sum(gradient * offset, axis=-1) * power


def measure_per_sample(
    loss_of_one: LossOfOne,
    points: Float[Array, "batch n 3"],
    label: Int[Array, "batch *points"],
    alpha: float,
    keys: jax.Array,
) -> Sample:
    """Samples with the gradient of each one's own loss; `loss_of_one` is an inference-mode network.

    In inference mode samples do not see each other, so this is exact; with batch statistics each gradient
    would contain terms of the other samples' losses.
    """
    gradient_of_one = jax.vmap(jax.value_and_grad(loss_of_one, has_aux=True))
    (loss, (embedding, logits)), gradient = gradient_of_one(points, label)
    return measure_shared(points, label, gradient, embedding, logits, loss, alpha, keys)


def measure_shared(
    points: Float[Array, "batch n 3"],
    label: Int[Array, "batch *points"],
    gradient: Float[Array, "batch n 3"],
    embedding: Float[Array, "batch d"],
    logits: Float[Array, "batch *points classes"],
    loss: Float[Array, " batch"],
    alpha: float,
    keys: jax.Array,
) -> Sample:
    """Samples from what a classification pass already has; `gradient` is that of the summed loss."""
    maps = jax.vmap(lambda p, g: saliency(p, g, alpha))(points, gradient)
    return jax.lax.stop_gradient(Sample(points, gradient, maps, embedding, logits, loss, label, keys))
