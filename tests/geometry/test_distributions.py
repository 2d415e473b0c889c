import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from smdsb_jax.geometry.distributions import coral, median_squared_distance, squared_mean_discrepancy
from smdsb_jax.state import Pair

SIGMAS = (0.01, 0.1, 1.0, 10.0, 100.0)


def of_pair(function, *options):
    return jax.jit(lambda samples, weights: function(samples, weights, *options))


mmd = of_pair(squared_mean_discrepancy, [s**2 for s in SIGMAS])
narrow_mmd = of_pair(squared_mean_discrepancy, (1.0,))
coral_of, median_of = of_pair(coral), of_pair(median_squared_distance)


def column(*values):
    return np.array(values, np.float32)[:, None]


def drawn(m=6, n=6, d=4):
    rng = np.random.default_rng(0)
    return Pair(*(rng.normal(size=(k, d)).astype(np.float32) for k in (m, n)))


def equal(samples):
    return Pair(*(np.ones(len(z), np.float32) for z in samples))


@pytest.mark.parametrize("samples", [Pair(column(0, 0), column(1, 1)), Pair(column(0), column(1))])
def test_the_discrepancy_of_two_values(samples):
    np.testing.assert_allclose(
        narrow_mmd(samples, equal(samples)), 2 - 2 * np.exp(-0.5), rtol=1e-6
    )  # 0.786939


def plain_mmd(source, target, variances):
    """(1/m^2) sum K_ss + (1/n^2) sum K_tt - (2/mn) sum K_st."""
    kernel = lambda x, y: sum(np.exp(-cdist(x, y, "sqeuclidean") / (2 * v)) for v in variances).mean()  # noqa: E731
    return kernel(source, source) + kernel(target, target) - 2 * kernel(source, target)


def test_the_discrepancy_is_the_biased_estimate_symmetric_and_0_of_identical_samples():
    samples = drawn(6, 4)
    found = mmd(samples, equal(samples))
    np.testing.assert_allclose(found, plain_mmd(*samples, [s**2 for s in SIGMAS]), rtol=1e-5)
    assert found > 0
    swapped = Pair(samples.target, samples.source)
    np.testing.assert_allclose(mmd(swapped, equal(swapped)), found, rtol=1e-5)
    for d in (4, 400):
        same = Pair(*(drawn(d=d).source,) * 2)
        np.testing.assert_allclose(mmd(same, equal(same)), 0, atol=1e-6)


@pytest.mark.parametrize("distance", [mmd, coral_of, median_of], ids=["mmd", "coral", "median"])
def test_a_weight_of_0_removes_a_vector_and_only_the_shares_count(distance):
    samples = drawn()
    weights = Pair(np.array([1, 0, 1, 1, 0, 1], np.float32), np.array([1, 1, 1, 0, 1, 1], np.float32))
    kept = Pair(*(z[w > 0] for z, w in zip(samples, weights, strict=True)))
    expected = distance(kept, equal(kept))
    np.testing.assert_allclose(distance(samples, weights), expected, rtol=1e-5)
    np.testing.assert_allclose(distance(samples, Pair(*(3 * w for w in weights))), expected, rtol=1e-5)
    far = Pair(np.where(weights.source[:, None] > 0, samples.source, 1e3), samples.target)
    np.testing.assert_allclose(distance(far, weights), expected, rtol=1e-5)


def test_coral_of_one_dimension_and_of_equal_covariances():
    samples = Pair(column(-1, 1), np.sqrt(3) * column(-1, 1) + 5)  # variances 1 and 3, whatever the means
    np.testing.assert_allclose(coral_of(samples, equal(samples)), (1 - 3) ** 2 / 4, rtol=1e-5)
    same = Pair(drawn().source, drawn().source + 2)
    np.testing.assert_allclose(coral_of(same, equal(same)), 0, atol=1e-10)
    samples = drawn(50, 60)
    expected = np.square(np.cov(samples.source.T, ddof=0) - np.cov(samples.target.T, ddof=0)).sum() / (
        4 * 4**2
    )
    np.testing.assert_allclose(coral_of(samples, equal(samples)), expected, rtol=1e-5)


def test_the_median_is_of_all_pairs_of_a_few_and_of_some_of_many():
    samples = drawn(6, 5)
    expected = np.median(pdist(np.concatenate(samples), "sqeuclidean"))
    np.testing.assert_allclose(median_of(samples, equal(samples)), expected, rtol=1e-5)
    many = drawn(700, 700)
    expected = np.median(pdist(np.concatenate(many), "sqeuclidean"))
    np.testing.assert_allclose(median_of(many, equal(many)), expected, rtol=0.05)
    same = Pair(*(np.ones((3, 2), np.float32),) * 2)
    assert median_of(same, equal(same)) == 1


@pytest.mark.parametrize("distance", [mmd, coral_of], ids=["mmd", "coral"])
def test_an_empty_side_and_coincident_vectors_give_0_with_finite_gradients(distance):
    gradient = jax.jit(jax.value_and_grad(distance))
    samples = drawn()
    for empty in (
        Pair(np.zeros(6), np.ones(6)),
        Pair(np.ones(6), np.zeros(6)),
        Pair(np.zeros(6), np.zeros(6)),
    ):
        value, gradients = gradient(samples, jax.tree.map(jnp.float32, empty))
        assert value == 0 and all((g == 0).all() for g in gradients)
    value, gradients = gradient(Pair(*(np.ones((6, 4), np.float32),) * 2), equal(samples))
    assert abs(value) < 1e-6 and all(np.isfinite(g).all() for g in gradients)
