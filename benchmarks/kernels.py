"""`--kernels`: the library's kernels beside the plain formula, milliseconds, interleaved in one process.

Runs by itself: `python -m benchmarks.kernels SETTING ARGUMENTS` prints its record as JSON.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.contenders import Setting, random_batch
from benchmarks.processes import open_progress
from benchmarks.ratios import paired_ratio, spread
from benchmarks.report import ratio_cell, times_cells
from smdsb_jax.geometry.chamfer import chamfer_distance
from smdsb_jax.geometry.curvature import normals_and_curvature
from smdsb_jax.geometry.farthest_points import farthest_point_sampling
from smdsb_jax.geometry.neighbors import knn
from smdsb_jax.layers.basic import random_bits
from smdsb_jax.layers.edge_conv import EdgeConv
from smdsb_jax.layers.edge_pair import EdgeTerms, PooledEdges
from smdsb_jax.layers.pooled_dense import PooledDense
from smdsb_jax.markdown import markdown_table

K, SLOPE, EPSILON = 20, 0.2, 1e-5
NEIGHBORS = 32  # of a curvature
Variants = dict[str, Callable[..., Any]]  # the first is the library's


def plain_norm(norm: dict[str, Array], y: Array) -> Array:
    """Leaky ReLU of BatchNorm over all axes but the last."""
    axes = tuple(range(y.ndim - 1))
    centered = y - jnp.mean(y, axes, keepdims=True)
    scale, bias = (jnp.expand_dims(norm[name], axes) for name in ("scale", "bias"))
    y = centered * jax.lax.rsqrt(jnp.mean(centered**2, axes, keepdims=True) + EPSILON) * scale + bias
    return jnp.where(y > 0, y, SLOPE * y)


def plain_edges(params: Any, x: Array) -> Array:
    """LeakyReLU(BN(W [x_j - x_i, x_i])), [batch, n, k, d]."""
    rows = jax.vmap(lambda x, neighbors: x[neighbors])(x, jax.vmap(top_k_neighbors)(x))  # [batch, n, k, c]
    center = jnp.broadcast_to(x[:, :, None], rows.shape)
    edges = jnp.concatenate([rows - center, center], axis=-1)
    return plain_norm(params["norm"], edges @ params["kernel"])


def plain_edge_conv(params: Any, x: Array) -> Array:
    """The maximum over neighbors of the array of all edges."""
    return jnp.max(plain_edges(params, x), axis=2)


class EdgePair(nn.Module):
    """The first two layers of a T-Net."""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Apply and pool."""
        edges = EdgeTerms(64, K, name="first")(x, train=train)
        return PooledEdges(128, name="second")(edges, train=train)


def plain_edge_pair(params: Any, x: Array) -> Array:
    """The same from the arrays of all edges."""
    edges = plain_edges(params["first"], x) @ params["second"]["dense"]["kernel"]
    return jnp.max(plain_norm(params["second"]["norm"], edges), axis=2)


def plain_pooled_dense(params: Any, x: Array) -> Array:
    """Product, norm, activation, and only then the maximum over points."""
    return jnp.max(plain_norm(params["norm"], x @ params["dense"]["kernel"]), axis=1)


def nearness(points: Array) -> Array:
    """Minus the squared distances, up to a constant of the row."""
    return 2 * points @ points.T - jnp.sum(points**2, axis=-1)[None, :]


def top_k_neighbors(points: Array) -> Array:
    """The k nearest points by one `top_k`."""
    return jax.lax.top_k(nearness(jax.lax.stop_gradient(points)), K)[1]


def argsort_neighbors(points: Array) -> Array:
    """The k nearest points by sorting all."""
    return jnp.argsort(-nearness(points), axis=-1)[:, :K]


def plain_chamfer(original: Array, prediction: Array, mask: Array) -> Array:
    """Both minima of the [n, n] squared distances among masked points."""
    squared = jnp.sum((original[:, None] - prediction[None]) ** 2, axis=-1)
    pairs = jnp.where(mask[:, None] & mask[None, :], squared, jnp.inf)
    nearest = jnp.min(pairs, axis=0) + jnp.min(pairs, axis=1)
    return jnp.sum(jnp.where(mask, nearest, 0)) / jnp.maximum(jnp.sum(mask), 1)


def plain_sampling(points: Array, count: int, start: Array) -> Array:
    """The farthest from all chosen points, each time from the whole [n, n] distances."""
    squared = jnp.sum((points[:, None] - points[None]) ** 2, axis=-1)

    def choose(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        far, chosen = state
        far = jnp.minimum(far, squared[chosen[i - 1]])
        return far, chosen.at[i].set(jnp.argmax(far))

    first = jnp.zeros(count, jnp.int32).at[0].set(start)
    return jax.lax.fori_loop(1, count, choose, (jnp.full(len(points), jnp.inf), first))[1]


def plain_curvature(points: Array) -> Array:
    """The smallest eigenvalue's share by one `eigh` per point."""
    rows = points[knn(points, NEIGHBORS)]
    x = rows - jnp.mean(rows, axis=1, keepdims=True)
    values = jnp.linalg.eigvalsh(jnp.einsum("nki,nkj->nij", x, x))  # covariances up to a factor
    return values[:, 0] / jnp.sum(values, axis=1)


def cases(setting: Setting) -> dict[str, tuple[Variants, tuple[Any, ...]]]:
    """Name → (variants, their arguments)."""
    points = jnp.asarray(random_batch(setting).source.points)
    keys = jax.random.split(jax.random.key(0), 8)
    features = jax.random.normal(keys[0], (*points.shape[:2], 64))
    wide = jax.random.normal(keys[1], (*points.shape[:2], 512))
    moved = points + 0.1 * jax.random.normal(keys[2], points.shape)
    mask = jax.random.bernoulli(keys[3], 0.1, points.shape[:2])
    bits_shape = (points.shape[0] * points.shape[1], 256)
    start = jnp.zeros(len(points), jnp.int32)
    edge_conv, pooled_dense = EdgeConv(128, K), PooledDense(1024)

    def sampled(sampling: Callable[..., Array]) -> Callable[..., Array]:
        return jax.vmap(lambda points, start: sampling(points, setting.points // 2, start))

    search = {
        "library": jax.vmap(functools.partial(knn, k=K)),
        "top_k": jax.vmap(top_k_neighbors),
        "argsort": jax.vmap(argsort_neighbors),
    }
    listed: dict[str, tuple[Variants, tuple[Any, ...]]] = {
        "knn, 3 channels": (search, (points,)),
        "knn, 64 channels": (search, (features,)),
        "chamfer_distance, with gradient": (
            {
                "library": with_gradient(lambda z, y, m: jax.vmap(chamfer_distance)(y, z, m)),
                "all pairs": with_gradient(lambda z, y, m: jax.vmap(plain_chamfer)(y, z, m)),
            },
            (moved, points, mask),
        ),
        f"farthest_point_sampling, {setting.points // 2}": (
            {"library": sampled(farthest_point_sampling), "all pairs": sampled(plain_sampling)},
            (points, start),
        ),
        f"curvature, {NEIGHBORS} neighbors": (
            {
                "library": jax.vmap(lambda points: normals_and_curvature(points, NEIGHBORS)[1]),
                "eigh": jax.vmap(plain_curvature),
            },
            (points,),
        ),
        "dropout bits, [batch points, 256]": (
            {
                "library": lambda key: random_bits(key, bits_shape),
                "bernoulli": lambda key: jax.random.bernoulli(key, 0.5, bits_shape),
            },
            (keys[4],),
        ),
    }
    for name, module, plain, x in (
        ("EdgeConv 64 → 128", edge_conv, plain_edge_conv, features),
        ("two layers of edges, 3 → 64 → 128", EdgePair(), plain_edge_pair, points),
        ("PooledDense 512 → 1024", pooled_dense, plain_pooled_dense, wide),
    ):
        variables: Any = module.init(keys[5], x, train=False)

        def library(params: Any, x: Array, module: Any = module, variables: Any = variables) -> Array:
            both = {"params": params, "batch_stats": variables["batch_stats"]}
            return module.apply(both, x, train=True, mutable=["batch_stats"])[0]

        both = {"library": library, "plain": plain}
        listed[f"{name}, forward"] = (both, (variables["params"], x))
        gradients = {kind: with_gradient(function, (0, 1)) for kind, function in both.items()}
        listed[f"{name}, with gradient"] = (gradients, (variables["params"], x))
    return listed


def with_gradient(function: Callable[..., Array], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function and the gradient of its outputs' weighted sum."""

    def weighted(*arguments: Any) -> Array:
        out = function(*arguments)
        return jnp.sum(out * jnp.linspace(-1, 1, out.size).reshape(out.shape))

    return jax.value_and_grad(weighted, argnums)


def measure(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of every kernel and variant; in each round each variant runs once, in rotated order."""
    records = []
    listed = cases(setting)
    tick = open_progress(len(listed))
    for name, (variants, arguments) in listed.items():
        compiled = {
            kind: jax.jit(function).lower(*arguments).compile() for kind, function in variants.items()
        }
        times: dict[str, list[float]] = {kind: [] for kind in compiled}
        for r in range(-1, rounds):  # the first round warms up
            order = list(compiled)
            for kind in order[r % len(order) :] + order[: r % len(order)]:
                begun = time.perf_counter()
                jax.block_until_ready(compiled[kind](*arguments))
                if r >= 0:
                    times[kind].append(1e3 * (time.perf_counter() - begun))
        records += [
            {"kernel": name, "variant": kind, "ms": ms, "slower": paired_ratio(ms, times["library"])}
            for kind, ms in times.items()
        ]
        tick(name)
    return records


def kernels_table(records: list[dict[str, Any]]) -> str:
    """A row per kernel and variant."""
    rows = [
        [r["kernel"], r["variant"], *times_cells(spread(r["ms"])), ratio_cell(r["slower"])] for r in records
    ]
    return markdown_table(
        ["kernel", "variant", "median, ms", "min to max", "times the library's [95 %]"], rows
    )


if __name__ == "__main__":
    setting, given = Setting(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    jax.config.update("jax_default_matmul_precision", setting.precision)
    print(json.dumps(measure(setting, given["rounds"])))
