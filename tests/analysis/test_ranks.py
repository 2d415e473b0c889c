import itertools

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


def test_a_nan_has_no_rank():
    scores, measures = made()
    scores[0, 3] = np.nan
    for table in (ranks.spearman_table, ranks.kendall_table):
        found = table(scores[:2], measures, weights())
        assert np.isnan(found[:, 0]).all() and np.isfinite(found[:, 1]).all()
    assert np.isnan(ranks.spearman(scores[0], measures[0]))


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


def covered(sets, seeds, samples, share, spread=0.0, batch=1):
    """How often the 95 % interval holds the truth, over simulated groups of `seeds` runs.

    Scores and measures of the runs share `share` of their variance, on clouds (in mini-batches of `batch`
    alike by half); the correlation of a run is drawn, with standard deviation `spread` of its atanh.
    """
    deviates = scipy.stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    of_runs = share * np.tanh(np.arctanh(0.5) + spread * deviates)
    truth = np.mean(np.arctanh(6 / np.pi * np.arcsin(of_runs / 2)))  # Spearman's of normal variables
    cluster, held = np.arange(samples) // batch, []
    for number in range(sets):
        random = np.random.default_rng([number, seeds, batch])
        x, rest = random.normal(size=(2, samples))
        if batch > 1:
            x, rest = np.sqrt(0.5) * (np.stack([x, rest]) + random.normal(size=(2, samples))[:, cluster])
        rho = np.tanh(np.arctanh(0.5) + spread * random.normal(size=(seeds, 1)))
        own = np.sqrt(1 - share) * random.normal(size=(2, seeds, samples))
        scores, measures = (
            np.sqrt(share) * np.stack([0 * rho + x, rho * x + np.sqrt(1 - rho**2) * rest]) + own
        )
        weight = np.concatenate([np.ones((1, samples)), ranks.resample(samples, 100, number, cluster)])
        table = ranks.atanh(ranks.spearman_table(scores, measures, weight))
        of_seeds = np.einsum("rss->sr", table)[:, :, None, None]
        low, high = ranks.bounds(ranks.over_seeds(of_seeds, np.array([samples // batch])))
        held.append(low[0, 0] < truth < high[0, 0])
    return np.mean(held)


@pytest.mark.parametrize(
    "seeds, share, spread",
    [
        (5, 0.9, 0.0),  # 75 % where each run's clouds were drawn on their own (71 % of 60 clouds)
        (3, 0.9, 0.3),  # 80 % so
        (2, 0.5, 0.0),
    ],
)
def test_the_interval_over_runs_on_the_same_clouds_covers_the_truth(seeds, share, spread):
    assert 0.9 <= covered(200, seeds, 40, share, spread) <= 0.995


def test_the_interval_of_one_run_and_of_few_mini_batches_covers_the_truth():
    assert 0.9 <= covered(200, 1, 80, 1.0) <= 0.99
    assert 0.9 <= covered(200, 1, 40, 1.0, batch=8) <= 0.99  # five batches; 86 % with normal quantiles


def test_the_error_over_seeds_by_hand():
    tables = np.array([[1.0, 0.0, 2.0], [3.0, 2.0, 4.0]])[:, :, None, None]  # replicates: means 1 and 3
    found = ranks.over_seeds(tables, np.array([5]))
    clouds, seeds = 5 / 4 * 1.0, 2.0 / 2
    assert found.value == 2 and found.error**2 == pytest.approx(clouds + seeds)
    freedom = (clouds + seeds) ** 2 / (clouds**2 / 4 + seeds**2 / 1)
    assert found.freedom == pytest.approx(freedom)
    low, high = ranks.bounds(found, 0.9)
    assert [low[0, 0], high[0, 0]] == pytest.approx(
        scipy.stats.t.interval(0.9, freedom, loc=2, scale=np.sqrt(clouds + seeds))
    )
    same = ranks.over_seeds(np.ones((2, 9, 1, 1)), np.array([5]))
    assert ranks.bounds(same) == (1, 1)


def test_an_undefined_value_has_no_interval():
    tables = np.array([[2.0, 2.0], [1.0, np.nan], [2.0, np.nan], [3.0, 1.0]])[None, :, None]
    low, high = ranks.bounds(ranks.over_seeds(tables, np.array([9, 9])))
    assert low[0, 0] < 2 < high[0, 0]
    assert np.isnan(low[0, 1]) and np.isnan(high[0, 1])


def test_correlations_are_averaged_as_atanh():
    assert ranks.mean_correlation([0.9, 0.1]) == pytest.approx(np.tanh(np.arctanh([0.9, 0.1]).mean()))
    assert ranks.mean_correlation([1.0, -1.0]) == 0 and ranks.mean_correlation([1.0]) == pytest.approx(0.9999)


@pytest.mark.parametrize(
    "accuracy, average, weighted",
    [
        ((2, 1, 4, 3, 5), 0.78055368, 0.85583710),
        ((1, 2, 3, 5, 4), 0.57344708, 0.41082063),  # a swap at the top
        ((2, 1, 3, 4, 5), 0.95333870, 0.99716591),  # at the bottom
    ],
)
def test_the_weighted_correlation_minds_the_top(accuracy, average, weighted):
    score, accuracy = np.arange(5.0), np.array(accuracy, float)
    assert ranks.weighted_spearman(score, accuracy) == pytest.approx(average, abs=1e-8)
    assert ranks.weighted_spearman(score, accuracy, weighted_ranks=True) == pytest.approx(weighted, abs=1e-8)
    assert ranks.weighted_spearman(np.ones(5), accuracy) == 0.0


def test_all_orders_give_scipys_exact_p():
    rng = np.random.default_rng(0)
    scores, measures = rng.integers(0, 4, size=(2, 6)).astype(float), rng.normal(size=(3, 6))
    orders = np.array(list(itertools.permutations(range(6))))
    table = ranks.permuted_table(scores, measures, orders)
    p = ranks.permutation_p(table)
    assert table.shape == (721, 2, 3)
    for i, score in enumerate(scores):
        for j, measure in enumerate(measures):
            spearman = lambda x, measure=measure: scipy.stats.spearmanr(x, measure).statistic  # noqa: E731
            exact = scipy.stats.permutation_test(
                (score,), spearman, permutation_type="pairings", n_resamples=np.inf, vectorized=False
            )
            assert table[0, i, j] == pytest.approx(exact.statistic)
            # the value counts once more than it does among all orders
            assert (p[i, j] * 721 - 2) / 720 == pytest.approx(exact.pvalue) or p[i, j] == exact.pvalue == 1


def test_drawn_orders_stay_within_clusters_and_come_near_the_exact_p():
    cluster = np.array([1, 0, 1, 0, 1, 0])
    orders = ranks.permutations(6, 9999, 0, cluster)
    assert (cluster[orders] == cluster).all() and (np.sort(orders, axis=1) == np.arange(6)).all()
    assert len(np.unique(orders, axis=0)) == 36
    np.testing.assert_array_equal(orders, ranks.permutations(6, 9999, 0, cluster))
    scores, measures = np.array([[1.0, 7, 2, 8, 3, 9]]), np.array([[1.0, 8, 2, 7, 4, 9]])
    pairs = itertools.product(itertools.permutations([0, 2, 4]), itertools.permutations([1, 3, 5]))
    exact = np.array([np.ravel(list(zip(odd, even, strict=True))) for odd, even in pairs])
    all_of_them, drawn = (ranks.permuted_table(scores, measures, o)[:, 0, 0] for o in (exact, orders))
    assert all_of_them[1:].mean() > 0.5  # what the clusters share stays
    above = (all_of_them[1:] >= all_of_them[0] - 1e-9).mean()
    assert 2 / 36 <= above < 0.5
    assert ranks.permutation_p(drawn[:, None, None]) == pytest.approx(2 * above, abs=0.03)


def test_the_smallest_p_is_two_in_ten_thousand_and_what_is_undefined_has_none():
    x = np.arange(40.0)
    table = ranks.permuted_table(np.stack([x, 0 * x]), x[None], ranks.permutations(40, 9999, 0))
    p = ranks.permutation_p(table)
    assert p[0, 0] == pytest.approx(2e-4) and np.isnan(p[1, 0])
