import numpy as np
import pytest
import scipy.stats

from smdsb_jax.analysis.examined import DOMAINS, SOURCE
from smdsb_jax.analysis.leaderboard import leaderboard, side_of
from smdsb_jax.analysis.oracle import REFERENCES
from smdsb_jax.statistics import STATISTICS, Statistic
from tests.analysis.synthetic_examined import examined

NUMBERS = ("spearman", "kendall", "partial", "kept_low", "kept_high")
TEXTS = ("group", "stage", "step", "domain", "statistic", "side", "measure")


def made(seed=0, scores=("skewness", "gini", "entropy"), measures=("gain", "dot_o"), sign=1, **fields):
    """A checkpoint without missing values; `sign` -1 turns the measures round."""
    e = examined(seed=seed, samples=48, points=16, **fields)
    rng = np.random.default_rng([seed, 7])
    return e._replace(
        scores={name: e.scores[name] for name in scores},
        measures={name: sign * e.measures[name] for name in measures},
        covariates={
            name: rng.normal(size=len(e.label)) + e.scores["gini"] for name in ("loss", "confidence")
        },
    )


def row_of(rows, **wanted):
    (row,) = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
    return row


def test_there_is_a_row_for_every_group_stage_step_domain_statistic_and_measure():
    checkpoints = [made(), made(stage=2), made(group="gast, c2s"), made(seed=1)]
    rows = leaderboard(checkpoints, replicates=20)
    assert len(rows) == 3 * 3 * 3 * 2
    assert len({tuple(row[k] for k in TEXTS) for row in rows}) == len(rows)
    numbers = [f"{name}{end}" for name in NUMBERS for end in ("", "_low95", "_high95")]
    numbers += ["spearman_best_low95", "spearman_best_high95", "p_permutation"]
    for row in rows:
        assert list(row) == [*TEXTS, "rank", *numbers, "seeds", "same_sign", "samples"]
        assert row["samples"] == 48 and 2e-4 <= row["p_permutation"] <= 1
        assert row["seeds"] == (2 if (row["group"], row["stage"]) == ("defrec, c2s", 1) else 1)
        assert all(row[f"{name}_low95"] <= row[f"{name}_high95"] for name in NUMBERS)
        assert type(row["spearman"]) is float


def residual(values, given):
    z = np.column_stack([np.ones(len(values)), *map(scipy.stats.rankdata, given)])
    rank = scipy.stats.rankdata(values)
    return rank - z @ np.linalg.lstsq(z, rank, rcond=None)[0]


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_values_of_one_seed_are_scipys(domain):
    e = made()
    rows, of = leaderboard([e], keep_ratio=0.5, replicates=20), e.domain == domain
    for statistic, score in e.scores.items():
        for measure, value in e.measures.items():
            row = row_of(rows, domain=domain, statistic=statistic, measure=measure)
            x, y = score[of], value[of]
            assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)
            assert row["kendall"] == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-6)
            given = [v[of] for v in e.covariates.values()]
            partial = scipy.stats.pearsonr(residual(x, given), residual(y, given)).statistic
            assert row["partial"] == pytest.approx(partial, abs=1e-9)
            order = np.argsort(x)
            for side, kept in (("low", order[:24]), ("high", order[24:])):
                expected = (y[kept].mean() - y.mean()) / y.std()
                assert row[f"kept_{side}"] == pytest.approx(expected, abs=1e-9)


def test_seeds_are_averaged_as_atanh_and_their_signs_counted():
    checkpoints = [made(seed=seed, sign=sign) for seed, sign in ((0, 1), (1, 1), (2, -1))]
    rows, of = leaderboard(checkpoints, replicates=20), checkpoints[0].domain == SOURCE
    row = row_of(rows, domain=SOURCE, statistic="skewness", measure="gain")
    rho = [
        scipy.stats.spearmanr(e.scores["skewness"][of], e.measures["gain"][of]).statistic for e in checkpoints
    ]
    assert np.sign(rho).tolist() == [-1, -1, 1] and abs(np.mean(rho) - row["spearman"]) > 1e-3
    assert row["spearman"] == pytest.approx(np.tanh(np.mean(np.arctanh(rho))), abs=1e-9)
    assert (row["seeds"], row["same_sign"]) == (3, 2)


def width(row, name="spearman"):
    return row[f"{name}_high95"] - row[f"{name}_low95"]


def of_skewness(checkpoints, replicates=300, measure="gain"):
    rows = leaderboard(checkpoints, replicates=replicates)
    return row_of(rows, domain=SOURCE, statistic="skewness", measure=measure)


@pytest.mark.parametrize("measure", ["gain", "dot_o"])
def test_the_interval_of_one_seed_is_that_of_its_own_replicates(measure):
    e = made(scores=("skewness",), measures=(measure,))
    of, coupled = e.domain == SOURCE, measure == "dot_o"
    x, y, batch = e.scores["skewness"][of], e.measures[measure][of], e.batch[of]
    random, found, gained = np.random.default_rng(0), [], []
    for _ in range(1000):
        drawn = random.integers(6, size=6) if coupled else random.integers(48, size=48)
        rows = np.concatenate([np.flatnonzero(batch == b) for b in drawn]) if coupled else drawn
        found.append(np.arctanh(np.corrcoef(*map(scipy.stats.rankdata, (x[rows], y[rows])))[0, 1]))
        kept = np.argsort(x[rows], kind="stable")[:24]
        gained.append((y[rows][kept].mean() - y[rows].mean()) / y.std())
    row = row_of(leaderboard([e], 0.5, 1000), domain=SOURCE, statistic="skewness", measure=measure)
    units = 6 if coupled else 48
    scale = scipy.stats.t.ppf(0.975, units - 1) * np.sqrt(units / (units - 1))
    middle, half = np.arctanh(row["spearman"]), scale * np.std(found)
    expected = np.tanh([middle - half, middle + half])
    np.testing.assert_allclose([row["spearman_low95"], row["spearman_high95"]], expected, atol=0.02)
    expected = [row["kept_low"] - scale * np.std(gained), row["kept_low"] + scale * np.std(gained)]
    np.testing.assert_allclose([row["kept_low_low95"], row["kept_low_high95"]], expected, atol=0.03)


def test_seeds_that_disagree_widen_the_interval():
    one, like, unlike = map(of_skewness, ([made()], [made(), made(seed=1)], [made(), made(seed=1, sign=-1)]))
    assert width(unlike) > 2 * width(one) and width(like) < width(unlike) / 2
    assert unlike["spearman_low95"] < -0.4 and unlike["spearman_high95"] > 0.4


def test_seeds_that_say_the_same_of_the_same_clouds_say_no_more_than_one():
    e = made(scores=("skewness",))
    for measure in ("gain", "dot_o"):
        one, five = (
            of_skewness([e._replace(seed=s) for s in range(n)], replicates=100, measure=measure)
            for n in (1, 5)
        )
        assert [width(five, name) for name in NUMBERS] == pytest.approx(
            [width(one, name) for name in NUMBERS]
        )
    # of other clouds they would; the rows stand for others when another index is written on them
    others = [e._replace(seed=s, index=e.index + 1000 * s) for s in range(5)]
    assert 0.3 < width(of_skewness(others, 100)) / width(of_skewness([e], 100)) < 0.6  # 1 / sqrt(5)


def test_mini_batches_are_drawn_where_batchnorm_couples_their_samples():
    e, rng = made(), np.random.default_rng(0)
    # within a mini-batch of 8 all samples are alike: 6 independent ones, not 48
    score, value = (rng.normal(size=6)[e.batch] + 1e-3 * rng.normal(size=len(e.batch)) for _ in range(2))
    both = e._replace(scores={"skewness": score}, measures={"gain": value, "dot_o": value, "loo1": value})
    rows = [r for r in leaderboard([both], replicates=400) if r["domain"] == SOURCE]
    of = {r["measure"]: width(r) for r in rows}
    assert len({round(r["spearman"], 9) for r in rows}) == 1
    assert of["dot_o"] == of["loo1"] > 1.5 * of["gain"]


def test_of_few_mini_batches_there_is_no_interval_where_they_are_drawn():
    e = made(measures=("gain", "dot_o"))
    few = e._replace(batch=e.batch % 4)
    rows = [r for r in leaderboard([few], replicates=100) if r["domain"] == SOURCE]
    coupled, free = ([r for r in rows if r["measure"] == name] for name in ("dot_o", "gain"))
    assert all(np.isnan(r["spearman_low95"]) and np.isnan(r["kept_low_high95"]) for r in coupled)
    assert np.isfinite([r["spearman_low95"] for r in free] + [r["spearman"] for r in coupled]).all()


def test_a_statistic_with_one_value_for_all_has_no_correlation():
    e = made()
    rows = leaderboard([e._replace(scores={"skewness": np.zeros(len(e.label))})], replicates=20)
    assert all(np.isnan([r["spearman"], r["spearman_low95"], r["kendall"], r["partial"]]).all() for r in rows)
    assert all(r["same_sign"] == 0 and r["rank"] is None for r in rows)


def test_checkpoints_of_a_group_have_the_same_statistics():
    with pytest.raises(ValueError, match="defrec, c2s: its checkpoints were scored with different"):
        leaderboard([made(), made(seed=1, scores=("gini",))], replicates=20)


MINE = Statistic(lambda sample: sample.loss, side="high")


def test_the_side_of_a_statistic_is_its_own_and_low_for_a_function():
    assert side_of(f"{__name__}:MINE") == "high"
    assert {name: side_of(name) for name in STATISTICS} == {n: s.side for n, s in STATISTICS.items()}
    assert side_of("entropy") == "high" and side_of("my_module:mine") == "low"
    assert {name: side_of(name) for name in REFERENCES} == REFERENCES


def test_the_interval_of_the_best_is_at_the_level_of_a_choice_among_the_statistics():
    e = made(measures=("gain",))
    oracle = {"oracle: cos_o": e.measures["gain"], "constant": np.zeros(len(e.label))}
    rows = leaderboard([e._replace(scores=e.scores | oracle)], replicates=50)  # three to choose from
    row = row_of(rows, domain=SOURCE, statistic="gini", measure="gain")
    quantiles = [scipy.stats.t.ppf(q, 47) for q in (0.975, 1 - 0.025 / 3)]
    ends = [np.arctanh([row[f"spearman{s}_{e}95"] for e in ("low", "high")]) for s in ("", "_best")]
    middle = np.arctanh(row["spearman"])
    np.testing.assert_allclose((ends[1] - middle) / (ends[0] - middle), quantiles[1] / quantiles[0])


def test_seeds_are_exchanged_together_and_within_mini_batches_where_these_couple():
    seeds = [made(scores=("skewness",), seed=s) for s in (0, 0, 1)]
    one, twice = (leaderboard(of, replicates=2) for of in (seeds[:1], seeds[:2]))
    # the same run twice knows no more than once; over 9,999 exchanges p is near that of the t-test
    assert [r["p_permutation"] for r in one] == [r["p_permutation"] for r in twice]
    e, here = seeds[0], seeds[0].domain == SOURCE
    row = row_of(one, domain=SOURCE, measure="gain")
    expected = scipy.stats.spearmanr(e.scores["skewness"][here], e.measures["gain"][here]).pvalue
    assert row["p_permutation"] == pytest.approx(max(expected, 2e-4), abs=0.02)
    # a score that is constant within mini-batches is not exchanged: nothing can be told
    of_batch = e._replace(scores={"batch": e.batch.astype(float)})
    rows = leaderboard([of_batch], replicates=2)
    assert row_of(rows, domain=SOURCE, measure="dot_o")["p_permutation"] == 1
    assert row_of(rows, domain=SOURCE, measure="gain")["p_permutation"] < 1


def test_the_rank_is_by_size_among_the_statistics_alone():
    e = made(scores=("skewness", "gini", "entropy", "random"), measures=("gain",))
    more = {"constant": np.zeros(len(e.label)), "oracle: cos_o": e.measures["gain"]}
    rows = leaderboard([e._replace(scores=e.scores | more)], replicates=20)
    here = {r["statistic"]: r for r in rows if r["domain"] == SOURCE}
    assert here["oracle: cos_o"]["rank"] is None and here["constant"]["rank"] is None
    by_size = sorted(e.scores, key=lambda name: -abs(here[name]["spearman"]))
    assert [here[name]["rank"] for name in by_size] == [1, 2, 3, 4]
