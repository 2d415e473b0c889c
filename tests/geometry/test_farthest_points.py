import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.farthest_points import farthest_point_sampling

sample_farthest = jax.jit(farthest_point_sampling, static_argnums=1)  # op by op is mostly compilation


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


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
