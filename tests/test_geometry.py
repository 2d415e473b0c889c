import functools

import hypothesis
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax import geometry
from smdsb_jax.geometry import chamfer_distance, farthest_point_sampling, knn

chamfer = jax.jit(chamfer_distance)  # op by op, most of the time would be compilation
sample_farthest = jax.jit(farthest_point_sampling, static_argnums=1)


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
        jax.jit(lambda p, s=search: geometry._by_queries(functools.partial(s, 20), p))(points)
        for search in (geometry._nearest_packed, geometry._nearest_sorted)
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


def test_beyond_the_packed_size_and_in_float64_the_plain_search_runs():
    points = cloud(geometry.PACKED_POINTS + 1, 2).astype(np.float32)
    found = np.asarray(jax.jit(functools.partial(knn, k=3))(points))
    rows = [0, 5000, geometry.PACKED_POINTS]
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


def fps_by_numpy(points, count, start):
    chosen = [start]
    while len(chosen) < count:
        chosen.append(int(cdist(points, points[chosen], "sqeuclidean").min(1).argmax()))
    return chosen


def test_farthest_points_on_a_line():
    line = jnp.array([0.0, 1, 2, 3, 4, 10])[:, None]
    assert sample_farthest(line, 3, jnp.array(0)).tolist() == [0, 5, 4]


def test_farthest_points_equal_numpy_from_any_start():
    points, start = cloud(3, 40, 3), np.array([0, 7, 39])
    found = jax.jit(jax.vmap(lambda p, s: farthest_point_sampling(p, 12, s)))(points, start)
    assert found.tolist() == [fps_by_numpy(p, 12, int(s)) for p, s in zip(points, start, strict=True)]


def test_all_points_are_a_permutation_and_fewer_are_its_prefix():
    points = jnp.asarray(cloud(30, 3))
    whole = sample_farthest(points, 30, jnp.array(4))
    assert sorted(whole.tolist()) == list(range(30))
    assert sample_farthest(points, 11, jnp.array(4)).tolist() == whole[:11].tolist()


def test_farthest_points_among_duplicates_repeat_the_first():
    assert sample_farthest(jnp.ones((5, 3)), 4, jnp.array(2)).tolist() == [2, 0, 0, 0]


def test_more_points_than_there_are_is_refused():
    with pytest.raises(ValueError, match="6 of 5 points"):
        farthest_point_sampling(jnp.ones((5, 3)), 6, jnp.array(0))


def test_chamfer_of_the_worked_example():
    original, prediction = jnp.array([[0.0, 0, 0], [1, 0, 0]]), jnp.array([[0.0, 0, 0], [3, 0, 0]])
    assert chamfer(original, prediction, jnp.array([True, True])) == 2.5
    assert chamfer(prediction, original, jnp.array([True, True])) == 2.5
    assert chamfer(original, prediction, jnp.array([False, True])) == 8  # 1 <-> 3, both ways


@pytest.mark.parametrize("scale", [1.0, 1000.0])  # far masked points too
def test_chamfer_equals_brute_force_within_the_mask(scale):
    original, prediction, mask = scale * cloud(4, 30, 3), scale * cloud(4, 30, 3, seed=1), cloud(4, 30) > 0.5
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(chamfer_distance))(original, prediction, mask)
    for o, p, m, value in zip(original, prediction, mask, found, strict=True):
        d = cdist(o[m], p[m], "sqeuclidean")
        np.testing.assert_allclose(value, d.min(0).mean() + d.min(1).mean(), rtol=1e-12)


def test_chamfer_ignores_the_order_of_points():
    original, prediction, mask = cloud(20, 3), cloud(20, 3, seed=1), cloud(20) > 0
    order = np.random.default_rng(2).permutation(20)
    shuffled = chamfer(original[order], prediction[order], mask[order])
    np.testing.assert_allclose(shuffled, chamfer(original, prediction, mask), rtol=1e-6)


def test_chamfer_gradient_is_exact_and_zero_outside_the_mask():
    with jax.enable_x64(True):
        original, prediction, mask = cloud(12, 3), cloud(12, 3, seed=1), np.arange(12) < 7
        of_prediction = functools.partial(chamfer, original, mask=mask)
        jax.test_util.check_grads(of_prediction, (prediction,), order=2, modes=["fwd", "rev"], rtol=1e-6)
        gradient = jax.grad(of_prediction)(prediction)
    moved = np.any(np.asarray(gradient) != 0, axis=1)
    np.testing.assert_array_equal(moved, mask)


def test_chamfer_of_nearly_coincident_points_does_not_round_away():
    original = cloud(50, 3).astype(np.float32)
    value = chamfer(original, original + np.float32(1e-4), np.ones(50, bool))
    np.testing.assert_allclose(value, 6e-8, rtol=0.01)


def test_chamfer_of_an_empty_mask_is_zero_with_zero_gradients():
    both = jax.value_and_grad(chamfer, (0, 1))
    value, gradients = both(cloud(5, 3), cloud(5, 3, seed=1), np.zeros(5, bool))
    assert value == 0
    assert all(np.all(g == 0) for g in gradients)


def test_chamfer_of_a_prediction_that_is_nan_is_nan():
    assert np.isnan(chamfer(cloud(5, 3), np.full((5, 3), np.nan), np.ones(5, bool)))


KERNELS = {
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
