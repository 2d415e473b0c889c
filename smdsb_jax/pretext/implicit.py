"""Implicits: tell from the embedding how far any place of the cube is from the cloud's surface."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.geometry.distance_field import nearest_distance, sparsest_spacing
from smdsb_jax.layers.basic import Dense, product
from smdsb_jax.network import Passes, Train, run
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_counts, check_range, suggest
from smdsb_jax.state import Features, Tree, Variables

START = 0.5  # the decoder's output before training: about the mean distance in the cube
# last function of the decoder and the bias from which it gives START
OUTPUTS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "relu": (jax.nn.relu, START),
    "softplus": (jax.nn.softplus, math.log(math.expm1(START))),
    "abs": (jnp.abs, START),
}


class DistanceDecoder(nn.Module):
    """[query, embedding] -> 512 -> 256 -> 128 -> 1, biases, ReLU after each, `output` after the last.

    The first layer's product is taken as query part + embedding part, the latter once per cloud. Weights
    start as PyTorch's: what they add to the last bias is at first smaller than it.
    """

    output: str = "relu"

    @nn.compact
    def __call__(
        self, queries: Float[Array, "batch q 3"], features: Features, *, train: bool
    ) -> Float[Array, "batch q"]:
        """A distance per query; training is no different, for there is neither norm nor dropout."""
        del train
        embedding = features.embedding
        kernel, bias = Dense(512, name="fc1").weights(3 + embedding.shape[-1])
        assert bias is not None
        of_query, of_embedding = jnp.split(kernel, [3])
        of_cloud = embedding @ of_embedding + bias[None, :]
        h = jax.nn.relu(product(queries, of_query) + of_cloud[:, None, :])
        h = jax.nn.relu(Dense(256, name="fc2")(h))
        h = jax.nn.relu(Dense(128, name="fc3")(h))
        function, start = OUTPUTS[self.output]
        last = self.param("bias", nn.initializers.constant(start), ())
        return function(Dense(1, use_bias=False, name="out")(h)[..., 0] + last)


class Prepared(NamedTuple):
    """Clouds, places, and what the decoder is to tell of them."""

    points: Float[Array, "batch n 3"]
    queries: Float[Array, "batch q 3"]
    distance: Float[Array, "batch q"]


def implicit(
    *, queries: int = 2048, tolerance_factor: float = 0.5, max_distance: float = 0.0, output: str = "relu"
) -> Pretext:
    """Adaptive unsigned distances   [ImplicitPCDA; Shen et al., CVPR 2022, arXiv:2112.09343].

    Loss per sample: the mean over its queries of |û(q) - u(q)|, û(q) = decoder([q, embedding]),
    u(q) = max(d(q) - f τ, 0), with d the distance to the nearest point, τ the mean of the 20 largest s_j
    (`sparsest_spacing`) and s_j the root mean square distance of point j to its 3 nearest. The gaps between
    the samples of one surface are then at distance 0, in dense and in sparse clouds. Queries are uniform in
    [-1, 1)^3, new ones at every step. The cloud is the augmented one, the targets are constants.

    The release starts with weights near 0 and a final ReLU: in about half of the seeds its output is 0
    everywhere and has no gradient, for good; PyTorch's start alone is no better. Here the last bias starts
    so that every output is about 0.5, where each of the functions has a gradient. Other departures: exact
    distances (released: of rounded squares, which may be negative), and neighbors are found at any distance
    (released: below the square root of 2).

    Args:
      queries: of each cloud.
      tolerance_factor: f; 0: plain distances to the points.
      max_distance: û and u are cut off above; 0: not at all, as the release's default.
      output: `relu`, as released, whose gradient is 0 where û is 0; `softplus` or `abs`, of which that
        is not so.

    Raises:
      ValueError: an option out of its range.
    """
    check_counts("pretext.queries", queries)
    check_range("pretext.tolerance_factor", tolerance_factor, 0, 1e3)
    check_range("pretext.max_distance", max_distance, 0, 1e3)
    if output not in OUTPUTS:
        raise ValueError(f"config.pretext.output = {output!r} is not known.{suggest(output, OUTPUTS)}")
    decoder, cap = DistanceDecoder(output), max_distance or math.inf

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        embedding = features.embedding
        places = jax.ShapeDtypeStruct((embedding.shape[0], queries, 3), embedding.dtype)
        return {"batch_stats": {}} | dict(decoder.lazy_init(key, places, features, train=False)), ()

    def prepare(view: View, key: jax.Array) -> Prepared:
        points = view.points
        places = jax.random.uniform(key, (points.shape[0], queries, 3), points.dtype, -1, 1)
        distance = jax.vmap(lambda q, p: adaptive_distance(q, p, tolerance_factor))(places, points)
        return Prepared(points, places, distance)

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
        features, variables = passes.encode(variables, prepared.points, key, train=train)
        told, variables = run(decoder, variables, "pretext", prepared.queries, features, train=train)
        error = jnp.abs(jnp.minimum(told, cap) - jnp.minimum(prepared.distance, cap))
        return Losses({"distance": jnp.mean(error, axis=-1)}, variables)

    return Pretext(init, prepare, loss, ("distance",))


def adaptive_distance(
    queries: Float[Array, "q 3"], points: Float[Array, "n 3"], tolerance_factor: float = 0.5
) -> Float[Array, " q"]:
    """max(d - f τ, 0): `nearest_distance` less `tolerance_factor` times `sparsest_spacing`, at least 0."""
    tolerance = tolerance_factor * sparsest_spacing(points)
    return jnp.maximum(nearest_distance(queries, points) - tolerance, 0)
