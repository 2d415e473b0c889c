import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from smdsb_jax.analysis.causal import (
    NULLS,
    fit_scores,
    gp_fixed,
    gp_ml,
    hsic,
    normal_scores,
    null_calibration,
    permutation_p,
    raw,
    subsampled,
)


def cubic(random, n):
    x, noise = random.uniform(-1, 1, (2, n))
    return x, x**3 + x + 0.2 * noise


@pytest.mark.parametrize(
    "x, y, value",
    [
        ((0, 1, 2, 3), (0, 1, 2, 3), 0.43019546),
        ((0, 1, 2, 3), (1, 0, 0, 1), 0.15063601),
        ((0, 1, 2, 3), (0, 2, 1, 3), 0.21077486),
        (range(8), [i**2 for i in range(8)], 0.84656660),
        ((0, 1, 2, 3), (5, 5, 5, 5), 0.0),
    ],
)
def test_the_statistic_of_few_values_whatever_their_unit_and_order(x, y, value):
    x, y = np.array(x, float), np.array(y, float)
    assert hsic(x, y) == pytest.approx(value, abs=1e-8)
    order = np.random.default_rng(0).permutation(len(x))
    assert hsic(3 - 2 * x[order], 1e-6 * y[order] + 1) == pytest.approx(value, abs=1e-8)


def test_the_residual_is_that_of_scikit_learns_defaults():
    x = np.linspace(-1, 1, 50)
    y = raw(x**3 + 0.1 * np.sin(40 * x))
    model = GaussianProcessRegressor(RBF(1.0, "fixed"), alpha=1e-10).fit(raw(x)[:, None], y)
    expected = y - model.predict(raw(x)[:, None])
    np.testing.assert_allclose(gp_fixed(raw(x), y), expected, atol=1e-3 * expected.std())
    forward, backward = fit_scores(x, x**3 + 0.1 * np.sin(40 * x), gp_fixed, raw)
    assert forward == pytest.approx(0.065005, rel=0.02) and backward == pytest.approx(1.228604, rel=0.02)


def test_a_fitted_residual_is_the_noise_and_of_no_dependence_the_effect():
    x, y = cubic(np.random.default_rng(0), 100)
    noise = (y - x**3 - x) / y.std()
    assert np.corrcoef(gp_ml(raw(x), raw(y)), noise)[0, 1] > 0.95
    x, y = NULLS["normal, normal"](np.random.default_rng(0), 100)
    assert np.corrcoef(gp_ml(raw(x), raw(y)), y)[0, 1] > 0.95


def test_normal_scores_know_the_ranks_alone():
    values = np.random.default_rng(0).lognormal(size=99)
    scores = normal_scores(values)
    np.testing.assert_allclose(scores, normal_scores(values**3))
    np.testing.assert_allclose(np.sort(scores), -np.sort(scores)[::-1], atol=1e-12)
    assert scores.std() == pytest.approx(1) and (np.argsort(scores) == np.argsort(values)).all()
    assert not raw(np.ones(4)).any() and not normal_scores(np.ones(4)).any()


def test_independent_variables_score_as_the_papers_do():
    normal = null_calibration(NULLS["normal, normal"], 200, 60)
    assert 0.22 < normal["forward"] < 0.31 and abs(normal["difference"]) < 0.06
    assert normal["forward_5"] < 0.16 and normal["forward_95"] > 0.25


def test_a_skewed_variable_looks_like_a_cause_until_only_ranks_count():
    draw = NULLS["lognormal, normal"]
    assert -0.24 < null_calibration(draw, 200, 60)["difference"] < -0.09
    assert abs(null_calibration(draw, 200, 60, marginals=normal_scores)["difference"]) < 0.05


def test_the_cause_of_a_cubic_is_found_and_not_among_shuffled_pairs():
    found = null_calibration(cubic, 200, 20)
    assert found["lower"] == 1 and found["forward"] < 0.35 and found["backward"] > 1
    x, y = cubic(np.random.default_rng(1), 240)
    pairs = subsampled(x, y, gp_fixed, raw, subsamples=5)
    assert pairs.shape == (5, 2) and (pairs[:, 0] < pairs[:, 1] - 0.5).all()
    assert len(np.unique(pairs[:, 0])) == 5
    shuffled = subsampled(x, y, gp_fixed, raw, subsamples=5, shuffled=True)
    assert (shuffled < 1).all()


def test_the_residual_of_the_right_direction_is_as_if_permuted():
    x, y = map(raw, cubic(np.random.default_rng(0), 100))
    forward, backward = (permutation_p(*pair, gp_fixed, permutations=199) for pair in ((x, y), (y, x)))
    assert forward > 0.05 and backward == pytest.approx(1 / 200)


def test_p_values_are_those_of_the_statistic_of_permuted_residuals():
    x, y = NULLS["uniform, uniform"](np.random.default_rng(3), 12)
    x, y = raw(x), raw(y)
    residual = gp_fixed(x, y)
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(12), (60, 1)), axis=1)
    larger = sum(hsic(residual[order], x) >= hsic(residual, x) for order in orders)
    assert permutation_p(x, y, gp_fixed, permutations=60) == pytest.approx((1 + larger) / 61)
