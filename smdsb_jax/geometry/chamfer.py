"""Distances of two clouds; `jax.vmap` outside for a batch.

The search for the nearest points carries no gradient; what is computed from the found points does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.geometry.neighbors import by_queries
from smdsb_jax.geometry.per_sample import exact_product, per_sample

PAIRS = 2**19  # distances of one cloud that exist at a time


def chamfer_distance(
    original: Float[Array, "n 3"], prediction: Float[Array, "n 3"], mask: Bool[Array, " n"]
) -> Float[Array, ""]:
    """Mean squared distance to the nearest masked point, both ways; unit: coordinate squared.

    (1/v) sum_{i in V} min_{j in V} |y_i - z_j|^2 + (1/v) sum_{i in V} min_{j in V} |z_i - y_j|^2, with
    original y, prediction z and v = |V| masked points; 0 when V is empty. Predictions outside V get no
    gradient.   [Achituve et al., WACV 2021, arXiv:2003.12641]
    """

    @per_sample
    def chamfer_nearest(original: Array, prediction: Array, mask: Array) -> tuple[Array, Array]:
        return _nearest(original, prediction, mask), _nearest(prediction, original, mask)

    of_original, of_prediction = chamfer_nearest(*jax.lax.stop_gradient((original, prediction)), mask)
    # by differences of the found pairs, since |y|^2 + |z|^2 - 2yz rounds where points nearly coincide
    squared = jnp.sum((original - prediction[of_original]) ** 2, axis=-1)
    squared += jnp.sum((prediction - original[of_prediction]) ** 2, axis=-1)
    return jnp.sum(jnp.where(mask, squared, 0)) / jnp.maximum(jnp.sum(mask), 1)


def pointwise_distance(
    original: Float[Array, "n 3"], prediction: Float[Array, "n 3"], mask: Bool[Array, " n"]
) -> Float[Array, ""]:
    """Mean squared distance of each masked point to the prediction in its row; unit: coordinate squared.

    (1/v) sum_{i in V} |y_i - z_i|^2, as `chamfer_distance` has them; 0 when V is empty.
    """
    squared = jnp.sum((original - prediction) ** 2, axis=-1)
    return jnp.sum(jnp.where(mask, squared, 0)) / jnp.maximum(jnp.sum(mask), 1)


def _nearest(queries: Array, candidates: Array, mask: Array) -> Array:
    """Index of the masked candidate nearest to each query; any index where nothing is masked."""
    n = candidates.shape[0]

    def search(candidates: Array, queries: Array) -> Array:
        distance = jnp.sum(candidates**2, axis=-1)[:, None] - 2 * exact_product(candidates, queries)
        distance = jnp.where(mask[:, None], distance, jnp.inf)
        # comparing with the minimum is 3 times faster than argmin on a CPU, and vectorizes along the queries
        is_nearest = distance == jnp.min(distance, axis=0)[None, :]
        # NaN equals nothing: n - 1 keeps the index inside the array
        return jnp.min(jnp.where(is_nearest, jnp.arange(n)[:, None], n - 1), axis=0)[:, None]

    return by_queries(search, candidates, queries, PAIRS)[:, 0]
