import numpy as np
import pytest
import scipy.stats

from smdsb_jax.analysis import ranks

N = 60


def made(seed=0):
    """Four scores, ties and a constant among them, and two measures."""
    random = np.random.default_rng(seed)
    measures = random.normal(size=(2, N))
    scores = np.stack(
        [
            measures[0] + random.normal(size=N),
            random.integers(4, size=N).astype(float),
            -(measures[1] ** 3),
            np.full(N, 2.0),
        ]
    )
    return scores, measures


def repeated(values, weight):
    """The drawn samples written out."""
    return np.repeat(values, weight.astype(int), axis=-1)


def weights(replicates=3):
    return np.concatenate([np.ones((1, N)), ranks.resample(N, replicates, 1)])


def partial(scores, measures, given, weight):
    plain, found = ranks.spearman_and_partial(scores, measures, given, weight)
    np.testing.assert_array_equal(plain, ranks.spearman_table(scores, measures, weight))
    return found


@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_every_entry_is_scipys_on_the_drawn_samples(name):
    scores, measures = made()
    table = getattr(ranks, f"{name}_table")(scores, measures, weights())
    reference = {"spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}[name]
    for found, weight in zip(table, weights(), strict=True):
        for i, score in enumerate(scores[:3]):
            for j, measure in enumerate(measures):
                expected = reference(repeated(score, weight), repeated(measure, weight)).statistic
                assert found[i, j] == pytest.approx(expected, abs=1e-6)
        assert np.isnan(found[3]).all()  # a constant score ranks nothing


def test_published_values():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    assert ranks.spearman(a, b) == pytest.approx(0.8)
    assert ranks.kendall_table(a[None], b[None], np.ones((1, 5)))[0, 0, 0] == pytest.approx(0.6)
    assert ranks.spearman(np.array([1.0, 1, 2, 2, 3]), a) == pytest.approx(0.94868330)


def test_partial_by_the_closed_form_of_one_covariate_and_by_regression_on_two():
    scores, measures = made()
    given = np.stack([scores[0] + measures[0], np.random.default_rng(5).normal(size=N)])
    one = partial(scores[:3], measures, given[:1], weights())
    for found, weight in zip(one, weights(), strict=True):
        draw = lambda v, w=weight: repeated(v, w)  # noqa: E731
        rho = lambda a, b: scipy.stats.spearmanr(draw(a), draw(b)).statistic  # noqa: E731, B023
        for i, x in enumerate(scores[:3]):
            for j, y in enumerate(measures):
                xy, xz, yz = rho(x, y), rho(x, given[0]), rho(y, given[0])
                expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
                assert found[i, j] == pytest.approx(expected, abs=1e-9)
    z = np.column_stack([np.ones(N), *map(scipy.stats.rankdata, given)])
    residual = lambda v: v - z @ np.linalg.lstsq(z, v, rcond=None)[0]  # noqa: E731
    two = partial(scores, measures, given, np.ones((1, N)))[0]
    for i, x in enumerate(scores[:3]):
        expected = np.corrcoef(*(residual(scipy.stats.rankdata(v)) for v in (x, measures[0])))[0, 1]
        assert two[i, 0] == pytest.approx(expected, abs=1e-9)
    assert np.isnan(two[3]).all()


def test_partial_formula_of_three_correlations():
    # rank correlations of these samples are 0.6, 0.5, 0.4 up to what 20,000 samples give
    covariance = 2 * np.sin(np.pi / 6 * np.array([[1, 0.6, 0.5], [0.6, 1, 0.4], [0.5, 0.4, 1]]))
    x, y, z = np.random.default_rng(0).multivariate_normal(np.zeros(3), covariance, 20_000).T
    found = partial(x[None], y[None], z[None], np.ones((1, 20_000)))[0, 0, 0]
    assert found == pytest.approx(0.50395263, abs=0.02)


def test_a_covariate_leaves_nothing_of_itself_and_a_repeated_or_constant_one_changes_nothing():
    scores, measures = made()
    one = np.ones((1, N))
    assert np.isnan(partial(scores[:1], measures, scores[:1], one)).all()
    alone = partial(scores[1:3], measures, scores[:1], one)
    twice = np.stack([scores[0], -3 * scores[0], scores[3]])
    np.testing.assert_allclose(partial(scores[1:3], measures, twice, one), alone, atol=1e-9)


@pytest.mark.parametrize("side", ["low", "high"])
def test_what_is_kept_has_the_mean_of_the_lowest_or_highest_scores(side):
    scores, measures = made()
    found = ranks.kept_table(scores, measures, 0.7, side, weights())
    order = np.argsort(scores[0] if side == "low" else -scores[0])[:42]
    expected = (measures[0][order].mean() - measures[0].mean()) / measures[0].std()
    assert found[0, 0, 0] == pytest.approx(expected)
    assert (found[0, 0, 0] < 0) == (side == "low")  # the score goes with the measure
    weight = weights()[2]
    drawn_score, drawn = repeated(scores[2], weight), repeated(measures[1], weight)
    order = np.argsort(drawn_score if side == "low" else -drawn_score, kind="stable")[:42]
    assert found[2, 2, 1] == pytest.approx((drawn[order].mean() - drawn.mean()) / measures[1].std())
    np.testing.assert_allclose(ranks.kept_table(scores, measures, 1.0, side, weights()), 0, atol=1e-12)


def test_kept_in_units_of_the_measure_and_no_nan_but_for_a_constant_measure():
    scores, measures = made()
    one = np.ones((1, N))
    found = ranks.kept_table(scores, 1e-9 * measures + 5, 0.7, "low", one)
    np.testing.assert_allclose(found, ranks.kept_table(scores, measures, 0.7, "low", one), atol=1e-5)
    assert np.isnan(ranks.kept_table(scores, np.ones((1, N)), 0.7, "low", one)).all()


def test_clusters_are_drawn_whole_and_every_row_has_as_many_draws():
    drawn = ranks.resample(N, 50, 0)
    assert (drawn.sum(axis=1) == N).all() and drawn.max() > 1
    np.testing.assert_array_equal(drawn, ranks.resample(N, 50, 0))
    cluster = np.repeat(np.arange(6), 10)[np.random.default_rng(0).permutation(N)]
    whole = ranks.resample(N, 50, 0, cluster)
    assert (whole.sum(axis=1) == N).all()
    for name in range(6):
        assert (whole[:, cluster == name] == whole[:, cluster == name][:, :1]).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        x = random.normal(size=(1, 80))
        y = 0.5 * x + np.sqrt(0.75) * random.normal(size=(1, 80))
        low, high = ranks.interval(ranks.spearman_table(x, y, ranks.resample(80, 400, seed))[:, 0, 0])
        covered.append(low < 6 / np.pi * np.arcsin(0.25) < high)
    assert 0.87 <= np.mean(covered) <= 1.0  # 95 % less 3.6 standard errors


def test_an_undefined_value_has_no_interval():
    low, high = ranks.interval(np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 1.0]]))
    assert low[0] == pytest.approx(1.05) and high[0] == pytest.approx(2.95)
    assert np.isnan(low[1]) and np.isnan(high[1])
