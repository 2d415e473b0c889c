"""DFAN-like: embeddings, and the nodes of every layer, are to be distributed alike in both domains."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.geometry.distributions import coral, median_squared_distance, squared_mean_discrepancy
from smdsb_jax.layers.nodes import pool_at_nodes
from smdsb_jax.network import Passes, Train
from smdsb_jax.pretext.base import Pretext, View
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Features, Pair, Tree, Variables

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # variances of the Gaussians, in medians of the squared distance


class Prepared(NamedTuple):
    """The clouds of the classification pass, and the progress of the stage."""

    points: Float[Array, "batch n 3"]
    progress: Float[Array, " batch"]  # the same for all


def dfan(
    *,
    global_weight: float = 1.0,
    local_weight: float = 1.0,
    align: str = "mmd",
    nodes: int = 64,
    members: int = 32,
) -> Pretext:
    """Dual-branch alignment, a reconstruction   [DFAN-like, after Shi et al., doi:10.1109/TGRS.2022.3171038].

    The paper is closed and has no public code; its abstract names a global branch that aligns distributions
    and a local one that aligns hierarchically. All else is this project's choice, and its numbers are not
    the paper's. With D a distance of both domains' samples, the kept ones alone, and λ = 2 / (1 + e^(-10 t))
    - 1, t the share of the stage done:

    - `global` = λ D(embeddings);
    - `local` = λ · the mean over the encoder's per-point layers of D(features of their nodes), a node's being
      the maximum over the points nearest to a farthest point.

    The classification is that of the encoder's own head on the embedding.

    Args:
      global_weight: of `global`.
      local_weight: of `local`.
      align: D: `mmd`, the mean over five Gaussians of `squared_mean_discrepancy`, their variances 1/4 to 4
        medians of the joint batch's squared distances; or `coral`, the distance of covariances.
      nodes: of a cloud; of a smaller one all points.
      members: points of a node.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pretext.global_weight", global_weight, 0, 1e6)
    check_range("pretext.local_weight", local_weight, 0, 1e6)
    check_counts("pretext.nodes", nodes)
    check_counts("pretext.members", members)
    if align not in ALIGN:
        raise ValueError(f"config.pretext.align = {align!r}: one of {', '.join(map(repr, ALIGN))}.")
    distance = ALIGN[align]

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del key, features, variables
        return {"params": {}, "batch_stats": {}}, ()

    def prepare(view: View, key: jax.Array) -> Prepared:
        del key
        return Prepared(view.points, jnp.full(view.points.shape[0], view.progress))

    def joint(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Pair,
        keep: Pair,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> tuple[dict[str, Float[Array, ""]], Variables]:
        del state
        embeddings, pooled, weights = [], [], []
        for clouds, mask, k in zip(prepared, keep, jax.random.split(key), strict=True):
            features, variables = passes.encode(variables, clouds.points, k, train=train)
            embeddings.append(features.embedding)
            pooled.append(pool_at_nodes(features.layers, clouds.points, nodes, members))
            weights.append(mask.astype(features.embedding.dtype))
        of_layers = [distance(*of_all_nodes(layer, weights)) for layer in zip(*pooled, strict=True)]
        ramp = adaptation_ramp(prepared.target.progress[0])
        return {
            "global": global_weight * ramp * distance(Pair(*embeddings), Pair(*weights)),
            "local": local_weight * ramp * sum(of_layers, jnp.zeros(())) / len(of_layers),
        }, variables

    return Pretext(init, prepare, None, ("global", "local"), joint=joint)


def of_all_nodes(
    layer: tuple[Float[Array, "m nodes c"], ...], weights: list[Float[Array, " m"]]
) -> tuple[Pair, Pair]:
    """Each domain's nodes as vectors, and each with its cloud's weight."""
    vectors = Pair(*(x.reshape(-1, x.shape[-1]) for x in layer))
    return vectors, Pair(*(jnp.repeat(w, x.shape[1]) for x, w in zip(layer, weights, strict=True)))


def median_kernels(samples: Pair, weights: Pair) -> Float[Array, ""]:
    """The mean over kernels of the squared mean discrepancy, their widths by the samples' distances."""
    median = median_squared_distance(samples, weights)
    variances = [width * median for width in BANDWIDTHS]
    return squared_mean_discrepancy(samples, weights, variances) / len(BANDWIDTHS)


def adaptation_ramp(progress: Float[Array, ""]) -> Float[Array, ""]:
    """2 / (1 + e^(-10 t)) - 1: from 0 to nearly 1   [Ganin & Lempitsky, arXiv:1409.7495]."""
    return 2 / (1 + jnp.exp(-10 * progress)) - 1


ALIGN = {"mmd": median_kernels, "coral": coral}
