"""Neighbors, sampling and distances of one point cloud; `jax.vmap` outside for a batch.

Index searches run as per-sample kernels (`per_sample.py`) and carry no gradient; what is computed from
the found points does. Their products keep full precision on every platform: a rounded distance picks
other neighbors.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.per_sample import per_sample


def knn(points: Float[Array, "n c"], k: int) -> Int[Array, "n k"]:
    """Indices of the k nearest points of each point, itself included, nearest first.

    Order: decreasing 2 p_i.p_j - |p_j|^2, which is -|p_i - p_j|^2 up to a constant of the row. Equally
    near points come in any order. k = n is allowed: every point is then a neighbor of every point.

    Raises:
      ValueError: k < 1 or k > n.
    """
    n = points.shape[0]
    if not 1 <= k <= n:
        raise ValueError(
            f"encoder.k = {k} neighbors among data.points = {n} points: needs 1 <= k <= points (a point is "
            "its own first neighbor). Lower encoder.k or raise data.points."
        )

    @per_sample
    def knn_search(points: Array) -> Array:
        nearness = 2 * _product(points, points) - jnp.sum(points**2, axis=-1)[None, :]
        return jax.lax.top_k(nearness, k)[1]  # the indices only: using its values defeats the fast CPU path

    return knn_search(jax.lax.stop_gradient(points))


def farthest_point_sampling(
    points: Float[Array, "n d"], count: int, start: Int[Array, ""]
) -> Int[Array, " count"]:
    """Indices of `count` points: `start`, then each time the point farthest from all chosen ones.

    The first of equally far points is taken, so when only duplicates of chosen points remain, index 0
    repeats. A shorter sampling is the prefix of a longer one. [Eldar et al., IEEE TIP 1997]

    Raises:
      ValueError: count < 1 or count > n.
    """
    n = points.shape[0]
    if not 1 <= count <= n:
        raise ValueError(
            f"farthest_point_sampling: {count} of {n} points asked; needs 1 <= count <= n. Ask for fewer "
            "points (data.points) or resample the cloud first."
        )

    @per_sample
    def farthest_points(points: Array, start: Array) -> Array:
        def choose(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            distance, chosen = carry
            distance = jnp.minimum(distance, jnp.sum((points - points[chosen][None, :]) ** 2, axis=-1))
            return (distance, jnp.argmax(distance).astype(jnp.int32)), chosen

        far = jnp.full(n, jnp.inf, points.dtype)
        return jax.lax.scan(choose, (far, start.astype(jnp.int32)), length=count)[1]

    return farthest_points(jax.lax.stop_gradient(points), jnp.asarray(start))


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


def _nearest(queries: Array, candidates: Array, mask: Array) -> Array:
    """Index of the masked candidate nearest to each query; any index where nothing is masked."""
    n = candidates.shape[0]
    distance = jnp.sum(candidates**2, axis=-1)[:, None] - 2 * _product(candidates, queries)
    distance = jnp.where(mask[:, None], distance, jnp.inf)
    # comparing with the minimum is 3 times faster than argmin on a CPU, and vectorizes along the queries
    is_nearest = distance == jnp.min(distance, axis=0)[None, :]
    # NaN equals nothing: n - 1 keeps the index inside the array
    return jnp.min(jnp.where(is_nearest, jnp.arange(n)[:, None], n - 1), axis=0)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
