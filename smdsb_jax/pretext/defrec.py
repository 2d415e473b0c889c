"""DefRec: deform a region of the cloud, rebuild it from the encoder's features."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float

from smdsb_jax.geometry.chamfer import chamfer_distance
from smdsb_jax.geometry.regions import Deformed, deform_ball, deform_voxels, least_points
from smdsb_jax.layers.heads import PointwiseHead
from smdsb_jax.network import Passes, Train, run
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables


class Prepared(NamedTuple):
    """Clouds with the region that was replaced."""

    points: Float[Array, "batch n 3"]
    deformed: Float[Array, "batch n 3"]
    mask: Bool[Array, "batch n"]


def defrec(
    *,
    min_share: float = 40 / 1024,
    noise_variance: float = 0.001,
    scale: float = 20.0,
    dropout: float = 0.5,
    head_bias: bool = False,
) -> Pretext:
    """Deform a cell of a 3 x 3 x 3 grid   [Achituve et al., arXiv:2003.12641; SM-DSB, arXiv:2504.15796].

    Args:
      min_share: of the points; a cell with fewer is not deformed. Released: 40 of 1,024.
      noise_variance: of the points that replace the region, per axis.
      scale: of the Chamfer distance (unit: coordinate squared); GAST's copy has 8.
      dropout: in the reconstruction head.
      head_bias: whether its layers have biases, as released for PointSegDA.

    Raises:
      ValueError: an option out of its range.
    """

    def deform(key: jax.Array, points: Float[Array, "batch n 3"]) -> Deformed:
        return deform_voxels(key, points, min_share, noise_variance)

    return _reconstruction(deform, min_share, noise_variance, scale, dropout, head_bias)


def defrec_radius(
    *,
    radius: float = 0.5,
    min_share: float = 20 / 1024,
    noise_variance: float = 0.001,
    scale: float = 20.0,
    dropout: float = 0.5,
    head_bias: bool = False,
) -> Pretext:
    """Deform a ball about a random point   [Achituve et al., arXiv:2003.12641, as released for PointSegDA].

    The point is drawn from those with balls of `min_share` points, itself included. The release parses a
    radius of 0.3, 20 points and a standard deviation of 0.1, and uses 0.5, 20 and a variance of 0.001.

    Args:
      radius: of the ball (boundary included), in radii of the cloud.
      min_share: of the points; a ball with fewer is not deformed. Released: 20 points, of PointSegDA's
        2,048 the share 20 / 2048; the default is 20 of 1,024.
      noise_variance: of the points that replace the region, per axis.
      scale: of the Chamfer distance (unit: coordinate squared).
      dropout: in the reconstruction head.
      head_bias: whether its layers have biases, as released for PointSegDA.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pretext.radius", radius, 0, 2)

    def deform(key: jax.Array, points: Float[Array, "batch n 3"]) -> Deformed:
        _, noise_key = jax.random.split(key)  # the first is that of `deform_voxels`' order
        keys = jax.random.split(noise_key, points.shape[0])
        least = least_points(min_share, points.shape[1])
        return jax.vmap(lambda k, p: deform_ball(radius, k, p, least, noise_variance))(keys, points)

    return _reconstruction(deform, min_share, noise_variance, scale, dropout, head_bias)


def _reconstruction(
    deform: Callable[[jax.Array, Float[Array, "batch n 3"]], Deformed],
    min_share: float,
    noise_variance: float,
    scale: float,
    dropout: float,
    head_bias: bool,
) -> Pretext:
    """The task of rebuilding what `deform(key, points)` replaced."""
    check_range("pretext.min_share", min_share, 0, 1)
    check_range("pretext.noise_variance", noise_variance, 0, 1)
    check_range("pretext.scale", scale, 0, 1e6)
    check_range("pretext.dropout", dropout, 0, 0.99)
    head = PointwiseHead(dropout=dropout, use_bias=head_bias)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        return dict(head.lazy_init(key, features, train=False)), ()

    def prepare(view: View, key: jax.Array) -> Prepared:
        return Prepared(view.points, *deform(key, view.points))

    def loss(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Prepared,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses:
        del state
        encoder_key, head_key = jax.random.split(key)
        points, deformed, mask = prepared
        features, variables = passes.encode(variables, deformed, encoder_key, train=train)
        rebuilt, variables = run(head, variables, "pretext", features, train=train, key=head_key)
        distance = jax.vmap(chamfer_distance)(points, rebuilt, mask)
        return Losses({"reconstruction": scale * distance}, variables)

    return Pretext(init, prepare, loss, ("reconstruction",))
