"""Views of stored clouds: sub-sampling, rotation, jitter, mixing. Pure, keyed, of one sample unless said."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.geometry import farthest_point_sampling


def subsample(
    key: jax.Array, cloud: Float[Array, "stored 3"], count: int, method: str
) -> Float[Array, "n 3"]:
    """`count` of the stored points: `fps` (random start), `uniform` (without replacement) or `first`.

    Raises:
      ValueError: fewer stored points than `count`; data sets resample short clouds when they load.
    """
    stored = cloud.shape[0]
    if stored < count:
        raise ValueError(f"config.data.points = {count}, but the clouds have {stored} points: lower it.")
    if stored == count or method == "first":
        return cloud[:count]
    if method == "uniform":
        return cloud[jax.random.permutation(key, stored)[:count]]
    return cloud[farthest_point_sampling(cloud, count, jax.random.randint(key, (), 0, stored))]


def rotate(key: jax.Array, points: Float[Array, "n 3"], axis: str) -> Float[Array, "n 3"]:
    """Turn by a random angle about `axis` (x or z; z is up), or leave as is (none)."""
    if axis == "none":
        return points
    angle = jax.random.uniform(key, (), points.dtype, 0, 2 * jnp.pi)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    if axis == "z":
        return jnp.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)
    return jnp.stack([x, cos * y - sin * z, sin * y + cos * z], axis=-1)


def jitter(key: jax.Array, points: Float[Array, "n 3"], std: float, clip: float) -> Float[Array, "n 3"]:
    """Add N(0, std^2) to each coordinate, clipped to ±clip."""
    noise = std * jax.random.normal(key, points.shape, points.dtype)
    return points + jnp.clip(noise, -clip, clip)


def point_cloud_mixup(
    key: jax.Array, points: Float[Array, "batch n 3"], alpha: float
) -> tuple[Float[Array, "batch n 3"], Array, Float[Array, ""]]:
    """Mix each cloud with a random partner: (mixed clouds, partner index [batch], share λ of the cloud).

    λ ~ Beta(alpha, alpha), one per batch; round(λ n) points of the cloud and the rest of its partner, each
    part by farthest point sampling from a random start. The points are not shuffled: the networks treat
    them as a set.   [PCM; Achituve et al., arXiv:2003.12641, 3.3]
    """
    batch, n, _ = points.shape
    share_key, partner_key, start_key = jax.random.split(key, 3)
    share = jax.random.beta(share_key, alpha, alpha, dtype=points.dtype)
    partner = jax.random.permutation(partner_key, batch)
    own = jnp.round(share * n).astype(jnp.int32)

    def ordered(start_key: jax.Array) -> Float[Array, "batch n 3"]:
        start = jax.random.randint(start_key, (batch,), 0, n)
        order = jax.vmap(lambda p, s: farthest_point_sampling(p, n, s))(points, start)
        return jnp.take_along_axis(points, order[:, :, None], axis=1)

    # A prefix of a farthest point sampling is one itself, so one full order serves every λ.
    spread = ordered(start_key)
    slot = jnp.arange(n)
    is_own: Bool[Array, " n"] = slot < own
    from_partner = spread[partner][:, jnp.maximum(slot - own, 0)]
    return jnp.where(is_own[None, :, None], spread, from_partner), partner, share
