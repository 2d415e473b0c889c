import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smdsb_jax.selection import (
    Selection,
    checked_scores,
    keep_mask,
    kept_count,
    kept_rows,
    masked_mean,
    mean_divisor,
    score_samples,
    select,
)
from smdsb_jax.state import Pair
from tests.statistics.made_samples import samples

SELECTION = Selection(lambda s: s.loss, "low", 0.5, "pooled", "batch", (0.0, 0.0), "mask")


@pytest.mark.parametrize("n, kept", [(10, 7), (16, 11), (32, 22), (45, 32), (64, 45), (128, 90)])
def test_sizes_at_the_papers_ratio(n, kept):
    assert kept_count(0.7, n) == kept


def test_sizes_at_the_edges():
    assert kept_count(1.0, 9) == 9
    assert kept_count(1e-6, 9) == 1
    assert kept_count(0.25, 10) == 3  # half rounds up


@pytest.mark.parametrize("side, expected", [("low", set(range(1, 8))), ("high", set(range(4, 11)))])
def test_sides(side, expected):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 11.0)).astype(np.float32)
    kept = np.asarray(keep_mask(jnp.asarray(scores), 0.7, side))
    assert set(scores[kept].astype(int)) == expected


@pytest.mark.parametrize("side", ["low", "high"])
def test_ties_go_to_the_lowest_index_and_nan_is_worst(side):
    assert np.flatnonzero(keep_mask(jnp.ones(10), 0.7, side)).tolist() == list(range(7))
    sign = 1.0 if side == "low" else -1.0
    # NaN of either sign bit, infinities, and both zeros, which are equal
    scores = sign * jnp.array([jnp.nan, -jnp.nan, jnp.inf, 0.0, -0.0, -jnp.inf, 1.0, jnp.inf])
    best_first = [5, 3, 4, 6, 2, 7, 0, 1]
    for run in (keep_mask, jax.jit(keep_mask, static_argnums=(1, 2))):
        for count in range(1, 9):
            kept = np.flatnonzero(run(scores, count / 8, side)).tolist()
            assert kept == sorted(best_first[:count])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=8, max_size=8),
    st.floats(0.01, 1.0),
)
def test_exactly_the_kept_number_and_never_a_better_one_left_out(scores, ratio):
    array = np.array(scores, np.float32)
    kept = np.asarray(keep_mask(jnp.asarray(array), ratio, "low"))
    assert kept.sum() == kept_count(ratio, 8)
    assert kept.all() or array[kept].max() <= array[~kept].min()


def test_denominators():
    loss, keep = jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([True, False, True, False])
    assert masked_mean(loss, keep, mean_divisor(keep, "batch")) == 1.0
    assert masked_mean(loss, keep, mean_divisor(keep, "kept")) == 2.0
    none = jnp.zeros(4, bool)
    for denominator in ("batch", "kept"):
        assert masked_mean(loss, none, mean_divisor(none, denominator)) == 0.0


def test_a_frozen_sample_has_no_gradient_even_when_it_is_nan():
    loss = lambda x: masked_mean(jnp.log(x), jnp.array([True, False]), 2)  # noqa: E731
    gradient = jax.grad(loss)(jnp.array([2.0, -1.0]))
    chex.assert_trees_all_close(gradient, jnp.array([0.25, 0.0]))


def test_a_frozen_samples_0_by_0_is_for_the_pretext_task_to_guard():
    x, keep = jnp.array([2.0, 0.0]), jnp.array([True, False])
    share = lambda x: x**2 / x  # noqa: E731
    value, gradient = jax.value_and_grad(lambda x: masked_mean(share(x), keep, len(keep)))(x)
    assert value == 1 and np.isnan(gradient[1])
    guarded = lambda x: masked_mean(share(jnp.where(x > 0, x, 1.0)), keep, len(keep))  # noqa: E731
    chex.assert_trees_all_close(jax.grad(guarded)(x), jnp.array([0.5, 0.0]))


def test_stage_1_keeps_every_target():
    (source, target), _ = select(SELECTION, Pair(samples(8, 16), None), 6, jax.random.key(0))
    assert source.sum() == 4 and target.shape == (6,) and target.all()


@pytest.mark.parametrize("side", ["low", "high"])
def test_the_pilot_freezes_unlabelled_targets_at_random(side):
    pilot = SELECTION._replace(scope="per_domain", side=side, freeze_unlabelled=True)
    given = Pair(samples(8, 16), None)
    kept = np.array([select(pilot, given, 10, jax.random.key(s))[0].target for s in range(60)])
    assert (kept.sum(axis=1) == 5).all()
    assert (np.abs(kept.mean(axis=0) - 0.5) < 0.25).all() and len(np.unique(kept, axis=0)) > 40


def test_given_scores_rank_in_place_of_the_statistic_and_only_where_they_are_asked_for():
    given = Pair(jnp.arange(8.0), None)
    bound = SELECTION._replace(side="high", bound="oracle_gain")
    (source, target), record = select(bound, Pair(samples(8, 16), None), 6, jax.random.key(0), given)
    assert np.flatnonzero(source).tolist() == [4, 5, 6, 7] and target.all()
    assert record["source/score"] == 3.5
    frozen = bound._replace(scope="per_domain", freeze_unlabelled=True)
    both = given._replace(target=-jnp.arange(6.0))
    (_, target), _ = select(frozen, Pair(samples(8, 16), None), 6, jax.random.key(0), both)
    assert np.flatnonzero(target).tolist() == [0, 1, 2]
    for selection, scores in ((bound, None), (SELECTION, given)):
        with pytest.raises(ValueError, match=f"bound = {selection.bound!r}: .*the step"):
            select(selection, Pair(samples(8, 16), None), 6, jax.random.key(0), scores)


def test_pooled_ranking_pushes_shifted_targets_out_and_per_domain_does_not():
    both = Pair(samples(8, 16), samples(8, 16, seed=1))
    far = SELECTION._replace(target_shift=(10.0, 0.0))
    (keep_source, keep_target), _ = select(far, both, 8, jax.random.key(0))
    assert keep_source.all() and not keep_target.any()
    apart = [select(s._replace(scope="per_domain"), both, 8, jax.random.key(0))[0] for s in (SELECTION, far)]
    chex.assert_trees_all_equal(*apart)
    assert apart[0][0].sum() == apart[0][1].sum() == 4


def test_the_noise_of_target_scores_has_the_given_mean_and_deviation():
    record = []

    def spy(s):
        record.append(s)
        return s.loss

    many = samples(4000, 4)._replace(loss=jnp.zeros(4000))
    noisy = SELECTION._replace(score=spy, target_shift=(0.1, 0.2), scope="per_domain", keep_ratio=0.5)
    (_, target), _ = select(noisy, Pair(many, many), 4000, jax.random.key(0))
    # half of N(0.1, 0.2²) lies below its median, drawn from the very key the selection uses
    noise = 0.1 + 0.2 * jax.random.normal(jax.random.key(0), (4000,))
    chex.assert_trees_all_equal(target, keep_mask(noise, 0.5, "low"))
    assert len(record) == 2  # the statistic sees source and target once each


def test_the_losses_of_the_lowest_and_the_highest_three_in_ten_are_recorded():
    given = samples(10, 4)._replace(embedding=jnp.array([[3.0], [9], [1], [7], [2], [8], [0], [5], [4], [6]]))
    by_rank = SELECTION._replace(score=lambda s: s.embedding[0])
    _, record = select(by_rank, Pair(given, given), 10, jax.random.key(0))
    loss = np.asarray(given.loss)
    for domain in ("source", "target"):
        assert record[f"{domain}/loss_low"] == pytest.approx(loss[[6, 2, 4]].mean())
        assert record[f"{domain}/loss_high"] == pytest.approx(loss[[1, 5, 3]].mean())
    assert set(select(by_rank, Pair(given, None), 10, jax.random.key(0))[1]) == {
        "source/score", "source/undefined", "source/loss_low", "source/loss_high",
    }  # fmt: skip


def test_the_share_of_samples_without_a_score_is_recorded():
    root = SELECTION._replace(score=lambda s: jnp.sqrt(s.embedding[0]))
    given = samples(4, 4)._replace(embedding=jnp.array([[-1.0], [2.0], [-3.0], [-4.0]]))
    assert select(root, Pair(given, None), 4, jax.random.key(0))[1]["source/undefined"] == 0.75


def test_gathered_rows_are_the_kept_ones_in_order():
    keep = jnp.array([False, True, False, True, True])
    chex.assert_trees_all_equal(kept_rows(keep, 3), jnp.array([1, 3, 4]))


def top(sample):
    return sample.saliency


@pytest.mark.parametrize(
    "statistic, got",
    [
        (top, r"statistic top returns float32\[16\] for one sample"),
        (lambda s: s.saliency[:1], r"float32\[1\]"),
        (lambda s: s.label, r"int32\[\]"),
        (lambda s: s.loss > 0, r"bool\[\]"),
        (lambda s: (s.loss, s.loss), "tuple"),
        (lambda s: None, "NoneType"),
        (lambda s: "loss", "str"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_a_statistic_of_the_wrong_kind_is_named(statistic, got, wrap):
    with pytest.raises(ValueError, match=got) as error:
        wrap(lambda s: score_samples(statistic, s))(samples(3, 16))
    assert "\n" not in str(error.value)


def test_a_plain_number_is_a_score():
    assert score_samples(lambda s: 0.5, samples(3, 16)).tolist() == [0.5] * 3


def test_scores_that_are_not_finite_are_refused_with_the_statistic_and_the_first_sample():
    scores = np.arange(256, dtype=np.float32)
    assert checked_scores("skewness", scores, "c2s source") is scores
    scores[[17, 90, 255]] = np.nan
    with pytest.raises(
        ValueError,
        match=r"statistic my_module:top returns NaN for 3 of 256 samples of c2s source \(first: sample 17\)",
    ) as error:
        checked_scores("my_module:top", scores, "c2s source")
    assert "\n" not in str(error.value)
    scores[2] = np.inf
    with pytest.raises(ValueError, match=r"returns NaN or infinity for 4 of 256 .*first: sample 2\)"):
        checked_scores("my_module:top", scores, "c2s source")
    with pytest.raises(ValueError, match=r"top returns infinity for 1 of 3 samples of target"):
        checked_scores("top", np.array([1.0, -np.inf, 2.0]), "target")
