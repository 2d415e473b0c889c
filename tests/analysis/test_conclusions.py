import numpy as np
import pytest

from smdsb_jax.analysis.conclusions import beats_random, conclude
from smdsb_jax.analysis.leaderboard import leaderboard
from tests.analysis.synthetic_examined import examined
from tests.tiers import exhaustive

NAN = float("nan")
MINE = "mine:half_mass"


def row(statistic, value, half=0.1, wider=0.05, **other):
    """Of a leaderboard: an interval of ± half, as the best of ± half + wider."""
    base = {
        "group": "defrec, c2s", "stage": 1, "step": 200, "domain": "source", "measure": "gain",
        "statistic": statistic, "spearman": value, "rank": None, "samples": 48, "seeds": 1,
        "spearman_low95": value - half, "spearman_high95": value + half,
        "spearman_best_low95": value - half - wider, "spearman_best_high95": value + half + wider,
        "kept_low": -value, "kept_high": value,
    }  # fmt: skip
    return base | other


def block(values, **other):
    """All statistics in one domain, ranked; a value of NaN is of a constant score."""
    known = [name for name in values if np.isfinite(values[name]) and ":" not in name.replace(MINE, "")]
    order = sorted(known, key=lambda name: -abs(values[name]))
    ranks = {name: 1 + order.index(name) for name in known}
    return [row(name, value, rank=ranks.get(name), **other) for name, value in values.items()]


VALUES = {
    MINE: 0.12, "skewness": 0.02, "gini": -0.3, "random": 0.01, "medcouple": NAN, "oracle: cos_o": 0.9,
}  # fmt: skip


def test_ones_own_statistic_comes_first_beside_skewness_random_and_the_leader():
    (table,) = conclude(block(VALUES), [MINE]).tables
    assert table.title == "defrec, c2s, stage 1, step 200, 48 samples a domain, 1 seed"
    assert [line["statistic"] for line in table.lines] == [MINE, "skewness", "random", "gini"]
    first, *_, leader = table.lines
    assert [first["domain"], first["measure"], leader["domain"]] == ["source", "gain", ""]
    assert (first["rank"], leader["rank"]) == ("2 of 4", "1 of 4")
    assert (first["95 % interval"], first["adjusted"]) == ("+0.02 … +0.22", "-0.03 … +0.27")
    assert (first["beats random"], leader["beats random"]) == ("no", "yes, keep low: +0.30 sd")
    text = conclude(block(VALUES), [MINE]).text()
    assert text[0].endswith(", 1 seed:") and text[1].splitlines()[2].startswith(
        f"| source | gain    | {MINE} "
    )
    assert text[2].startswith(MINE)


def test_an_interval_that_excludes_0_before_it_is_adjusted_does_not_beat_random():
    assert (beats_random(row("a", 0.12)), beats_random(row("a", 0.2))) == ("", "high")
    assert (beats_random(row("a", -0.2)), beats_random(row("a", NAN))) == ("low", "")
    found = conclude(
        [*block(VALUES | {"gini": 0.05}), *block({MINE: 0.0}, domain="target")], [MINE]
    ).sentences
    assert found == [
        f"{MINE} does not beat random: each of its adjusted intervals holds 0.",
        "gain: nothing beats random in source or target: no statistic has an interval, adjusted for the "
        "choice among 4 or 1, that excludes 0.",
    ]


def test_what_beats_random_is_named_with_the_side_and_its_worth():
    rows = [*block(VALUES | {MINE: 0.4}), *block(VALUES, domain="target")]
    assert conclude(rows, [MINE], keep_ratio=0.6).sentences == [
        f"{MINE} beats random in source, gain (keep high: 60 % are worth +0.40 sd), elsewhere it does not.",
        f"gain: in source {MINE} (keep high) and gini (keep low) beat random, in target gini (keep low) "
        "beats random, by intervals adjusted for the choice among 4.",
    ]
    rows = [*block({MINE: 0.4}), *block({MINE: 0.0, "random": 0.5}, domain="target")]  # by luck
    assert (
        conclude(rows)
        .sentences[0]
        .startswith(f"gain: in source {MINE} (keep high) beats random, in target no")
    )


def test_what_has_no_interval_is_told_with_the_remedy_and_what_is_constant_too():
    none = dict.fromkeys(
        [f"spearman{best}_{end}95" for best in ("", "_best") for end in ("low", "high")], NAN
    )
    found = conclude(block(VALUES, **none), [MINE, "medcouple"], samples=80)
    assert {line["statistic"]: line["beats random"] for line in found.tables[0].lines} == {
        MINE: "no interval", "medcouple": "constant", "skewness": "no interval", "random": "-",
        "gini": "no interval",
    }  # fmt: skip
    assert found.sentences == [
        f"{MINE} cannot be told from random: it has no interval.",
        "medcouple cannot be told from random: it has no interval.",
        "gain: no interval, for it takes 5 mini-batches: give more samples, 80 at least.",
    ]


def test_two_stages_have_a_table_each_and_true_labels_and_other_measures_none():
    rows = [*block(VALUES), *block(VALUES, stage=2), *block(VALUES, domain="target, true labels")]
    found = conclude([*rows, *block(VALUES, measure="loo")], [MINE])
    assert [len(table.lines) for table in found.tables] == [4, 4]
    assert found.sentences[2].startswith("defrec, c2s, stage 2, step 200: mine")


def test_of_many_checkpoints_means_and_intervals_on_either_side_are_counted():
    rows = [r for k in range(3) for r in block(VALUES | {MINE: 0.3 * k}, group=f"run {k}")]
    rows += block({MINE: 0.0, "gini": 0.0}, group="run 0", domain="target")
    rows += block({MINE: NAN, "gini": 0.5}, group="run 1", domain="target")
    found = conclude(rows, [MINE])
    (table,) = found.tables
    assert table.title.startswith("3 checkpoints")
    assert [line["statistic"] for line in table.lines] == [
        MINE,
        "skewness",
        "random",
        "gini",
        "oracle: cos_o",
    ]
    own, *_, gini, oracle = table.lines
    mean = [np.tanh(np.mean(np.arctanh(rho))) for rho in ([0, 0.3, 0.6, 0], [-0.3, -0.3, -0.3, 0, 0.5])]
    assert list(own.values()) == ["gain", MINE, "1 of 4", f"{mean[0]:+.2f}", "4", "0", "2"]
    assert list(gini.values())[2:] == ["2 of 4", f"{mean[1]:+.2f}", "5", "3", "1"]
    assert (oracle["rank"], oracle["above 0: keep high"]) == ("-", "3")
    assert found.sentences == [f"{MINE} beats random in 2 of 4 comparisons by gain."]
    useless = [r for k in range(3) for r in block({MINE: 0.1, "random": 0.4}, group=f"run {k}")]
    assert conclude(useless, [MINE]).sentences == [
        f"{MINE} beats random in 0 of 3 comparisons by gain.",
        "gain: nothing beats random in any comparison.",
    ]


def test_of_nothing_nothing_is_said():
    assert conclude([]) == ([], [])


@exhaustive
def test_of_useless_statistics_none_is_found_useful_more_often_than_once_in_twenty():
    e, claims = examined(samples=48, points=16), []
    measures, covariates = ("gain", "dot_o"), {"loss": e.scores["gini"], "confidence": e.scores["entropy"]}
    for number in range(50):
        rng = np.random.default_rng(number)
        noise = lambda names: {name: rng.normal(size=len(e.label)) for name in names}  # noqa: E731, B023
        useless = e._replace(scores=noise("abcdefghij"), measures=noise(measures), covariates=covariates)
        for block in conclude(leaderboard([useless], replicates=100)).tables[0].lines:
            claims.append(block["beats random"].startswith("yes"))
    assert len(claims) == 200 and np.mean(claims) <= 0.075  # 5 % and 1.6 standard errors


@pytest.mark.parametrize("sign, side", [(1, "high"), (-1, "low")])
def test_what_agrees_in_truth_is_found_with_its_side(sign, side):
    e = examined(samples=48, points=16)
    scores = {"mine": sign * e.measures["gain"] + 1e-3 * e.scores["gini"], "random": e.scores["random"]}
    few = e._replace(
        scores=scores, measures={"gain": e.measures["gain"]}, covariates={"loss": e.scores["gini"]}
    )
    found = conclude(leaderboard([few], replicates=50), ["mine"])
    assert found.sentences[0].startswith(
        f"mine beats random in source, gain (keep {side}: 70 % are worth +0."
    )
