import functools

import hypothesis
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from smdsb_jax.geometry import neighbors
from smdsb_jax.geometry.chamfer import chamfer_distance
from smdsb_jax.geometry.farthest_points import farthest_point_sampling
from smdsb_jax.geometry.neighbors import count_within, knn, nearest, within_radius


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("channels", [3, 16])
def test_knn_equals_brute_force(channels):
    points = cloud(2, 50, channels).astype(np.float32)
    found = jax.jit(jax.vmap(functools.partial(knn, k=20)))(points)
    expected = np.stack([np.argsort(cdist(p, p), axis=1)[:, :20] for p in points])
    np.testing.assert_array_equal(np.sort(found, -1), np.sort(expected, -1))
    np.testing.assert_array_equal(found[..., 0], np.tile(np.arange(50), (2, 1)))  # the point itself


# 700: two blocks of queries, the last one filled up; 704: found by groups of points first
@pytest.mark.parametrize("n", [63, 64, 700, 704])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_packed_search_finds_the_neighbors_of_the_plain_one(n, scale):
    points = (scale * cloud(n, 5)).astype(np.float32)
    packed, plain = (
        jax.jit(lambda p, s=search: neighbors.by_queries(functools.partial(s, 20), p, p))(points)
        for search in (neighbors._nearest_packed, neighbors._nearest_sorted)
    )
    np.testing.assert_array_equal(np.sort(packed, -1), np.sort(plain, -1))


@pytest.mark.parametrize("duplicates", [2, 30])
def test_many_equal_distances_fall_back_to_the_plain_search(duplicates):
    points = np.repeat(cloud(8, 3), duplicates, axis=0).astype(np.float32)
    k = min(duplicates, 20)
    found = np.asarray(jax.jit(functools.partial(knn, k=k))(points))
    assert all(len(set(row)) == k for row in found.tolist())
    np.testing.assert_array_equal(
        found // duplicates, np.repeat(np.arange(8), duplicates)[:, None] + 0 * found
    )


@hypothesis.given(hypothesis.strategies.integers(0, 2**32 - 1), hypothesis.strategies.integers(1, 40))
@hypothesis.settings(max_examples=15, deadline=None)
def test_packed_search_on_rounded_clouds_gives_k_of_the_smallest_distances(seed, k):
    # a coarse grid has many ties: the distances must be the smallest, whichever of the equal points are named
    points = np.round(3 * np.random.default_rng(seed).normal(size=(40, 3))).astype(np.float32)
    found = np.asarray(jax.jit(functools.partial(knn, k=k))(points))
    squared = cdist(points, points, "sqeuclidean")
    np.testing.assert_array_equal(
        np.sort(np.take_along_axis(squared, found, 1), 1), np.sort(squared, 1)[:, :k]
    )
    assert all(len(set(row)) == k for row in found.tolist())


# in parts of at most 256: two of 144 that share 31, two of 256, three of 240 of which the last two share 20
@pytest.mark.parametrize("n", [257, 512, 700])
def test_parts_of_a_cloud_give_the_neighbors_of_all(n, monkeypatch):
    monkeypatch.setattr(neighbors, "PACKED_POINTS", 256)
    points = cloud(n, 5).astype(np.float32)
    found = np.asarray(jax.jit(functools.partial(knn, k=20))(points))
    np.testing.assert_array_equal(np.sort(found), np.sort(np.argsort(cdist(points, points), axis=1)[:, :20]))

    thrice = points[np.arange(n) % -(-n // 3)]  # equal points in different parts: each is named once
    found = np.asarray(jax.jit(functools.partial(knn, k=2))(thrice))
    assert np.all(found[:, 0] != found[:, 1])
    np.testing.assert_array_equal(thrice[found], np.stack([thrice, thrice], axis=1))


def test_beyond_the_packed_size_and_in_float64_the_same_are_found():
    points = cloud(neighbors.PACKED_POINTS + 1, 2).astype(np.float32)
    found = np.asarray(jax.jit(functools.partial(knn, k=3))(points))
    rows = [0, 5000, neighbors.PACKED_POINTS]
    np.testing.assert_array_equal(
        np.sort(found[rows], -1), np.sort(np.argsort(cdist(points[rows], points), axis=1)[:, :3], -1)
    )
    with jax.enable_x64(True):
        close = np.array([[0.0], [1.0], [1.0 + 1e-6], [1.0 + 3e-6]])  # squares below float32's digits
        assert jax.jit(functools.partial(knn, k=2))(close)[2].tolist() == [2, 1]


def test_the_distances_of_a_large_cloud_never_exist_together():
    n = 50_000
    compiled = jax.jit(functools.partial(knn, k=20)).lower(jnp.zeros((n, 3))).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64 * 2**20  # n^2 distances: 9.3 GiB


def test_knn_of_as_many_neighbors_as_points():
    found = jax.jit(functools.partial(knn, k=6))(cloud(6, 3))
    np.testing.assert_array_equal(np.sort(found), np.tile(np.arange(6), (6, 1)))


def test_knn_of_coincident_points_returns_distinct_indices():
    found = jax.jit(functools.partial(knn, k=4))(jnp.ones((7, 3)))
    assert all(len(set(row)) == 4 for row in found.tolist())


@pytest.mark.parametrize("k", [0, 6])
def test_knn_refuses_impossible_k_by_the_names_of_the_fields(k):
    with pytest.raises(ValueError, match=rf"encoder.k = {k} .* data.points = 5 "):
        jax.eval_shape(functools.partial(knn, k=k), jnp.zeros((5, 3)))


@pytest.mark.parametrize("n", [50, 700])  # 700: two blocks of queries, the last one filled up
def test_counts_equal_those_of_a_tree(n):
    points = cloud(n, 3).astype(np.float32)
    points[10:13] = points[9]  # coincident points count each other
    found = jax.jit(functools.partial(count_within, radius=0.5))(points)
    expected = cKDTree(points).query_ball_point(points, 0.5, return_length=True)
    np.testing.assert_array_equal(found, expected)
    assert found.min() == 1 and found[9] >= 4


def test_counts_on_a_line_and_no_gradient_through_them():
    points = jnp.zeros((4, 3)).at[:, 0].set(jnp.array([0, 0.1, 0.2, 0.3]))
    assert count_within(points, 0.15).tolist() == [2, 3, 3, 2]
    gradient = jax.grad(lambda p: jnp.sum(p[:, 0] * count_within(p, 0.15)))(points)
    np.testing.assert_array_equal(gradient[:, 0], [2, 3, 3, 2])


KERNELS = {
    "count_search": lambda p: jax.vmap(functools.partial(count_within, radius=0.1))(p),
    "knn_search": lambda p: jax.vmap(functools.partial(knn, k=3))(p),
    "farthest_points": lambda p: jax.vmap(lambda q: farthest_point_sampling(q, 3, jnp.array(0)))(p),
    "chamfer_nearest": lambda p: jax.vmap(jax.grad(lambda q: chamfer_distance(p[0], q, p[0, :, 0] > 0)))(p),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_accelerators_get_the_batched_kernel(name, platform):
    traced = jax.jit(KERNELS[name]).trace(jnp.ones((2, 8, 3)))
    text = traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
    assert (f"{name}/batched" in text) == (platform != "cpu")


def test_nearest_points_of_other_queries_equal_brute_force_in_their_order():
    points, queries = cloud(2, 50, 3).astype(np.float32), cloud(2, 7, 3, seed=1).astype(np.float32)
    found = jax.jit(jax.vmap(functools.partial(nearest, k=5)))(points, queries)
    expected = np.stack(
        [np.argsort(cdist(q, p), axis=1)[:, :5] for p, q in zip(points, queries, strict=True)]
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="nearest: 51 of 50 points asked"):
        jax.eval_shape(lambda p: nearest(p, p, 51), points[0])


@pytest.mark.parametrize(
    ("order", "members", "expected"),
    [
        ("index", 3, [0, 1, 2]),
        ("index", 5, [0, 1, 2, 4, 0]),
        ("index", 7, [0, 1, 2, 4, 0, 0, 0]),  # more than there are points
        ("nearest", 3, [0, 4, 1]),
        ("nearest", 5, [0, 4, 1, 2, 0]),
    ],
)
def test_a_ball_query_takes_the_first_and_repeats_the_first_of_all(order, members, expected):
    line = jnp.array([0.0, 0.1, 0.2, 0.5, 0.05])[:, None] * jnp.array([[1.0, 0, 0]])
    found = jax.jit(lambda p: within_radius(p, p[:1], 0.3, members, order))(line)
    assert found.tolist() == [expected]


def test_a_ball_query_equals_brute_force():
    points, queries = cloud(2, 60, 3).astype(np.float32), cloud(2, 5, 3, seed=1).astype(np.float32)
    find = jax.jit(jax.vmap(lambda p, q: within_radius(p, q, 1.0, 8, "index")))
    for found, p, q in zip(find(points, queries), points, queries, strict=True):
        for row, distance in zip(found.tolist(), cdist(q, p), strict=True):
            inside = np.flatnonzero(distance <= 1.0)[:8].tolist() or [0]
            assert row == inside + [inside[0]] * (8 - len(inside))
