import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import smdsb_jax
from smdsb_jax import gradients
from smdsb_jax.analysis import examine
from smdsb_jax.analysis.examined import DOMAINS, SOURCE, TARGET, TARGET_TRUE
from smdsb_jax.analysis.views import augment_all, augment_and_prepare
from smdsb_jax.inference import measure
from smdsb_jax.selection import kept_count


def reach(sample):
    """A statistic of our own, which reads no label."""
    return jnp.max(jnp.abs(sample.points))


NAMES = ("skewness", "loss", "random", "pretext_loss")
STATISTICS = {name: name for name in NAMES} | {"mine": reach}


@pytest.fixture(scope="module")
def drawn(subjects):
    return examine.draw(subjects[1], examine.Settings(samples=16, pool=32))


@pytest.fixture(scope="module")
def found(subjects, drawn):
    return examine.examine_scores(subjects[1], "a group", drawn, 0, STATISTICS)


@pytest.fixture(scope="module")
def seen(run, subjects, drawn):
    """What `samples` makes of the same views, one mini-batch after the other: {domain: Sample}."""
    model, subject = smdsb_jax.load(run, stage=1), subjects[1]
    program = jax.jit(functools.partial(augment_and_prepare, subject.parts))
    batches = augment_all(program, subject, tuple(rows[:2] for rows in drawn.rows), seed=0)
    pseudo = subject.labels.label[drawn.rows[1][:2]]
    own = {
        SOURCE: [(b.points[0], b.label[0]) for b in batches],
        TARGET: [(b.points[1], label) for b, label in zip(batches, pseudo, strict=True)],
        TARGET_TRUE: [(b.points[1], b.label[1]) for b in batches],
    }
    keys = jax.random.split(jax.random.key(0), 8)
    see = lambda *pair: measure(model, *map(np.asarray, pair), keys)._replace(key=())  # noqa: E731
    of = {name: [see(*pair) for pair in pairs] for name, pairs in own.items()}
    return {name: jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts) for name, parts in of.items()}


def test_pretext_losses_are_those_of_the_gradients_that_are_measured(found, subjects, drawn):
    subject = subjects[1]
    program = jax.jit(functools.partial(augment_and_prepare, subject.parts))
    (first, *_) = augment_all(program, subject, tuple(rows[:1] for rows in drawn.rows), seed=0)
    setup = gradients.Setup(subject.parts, subject.state.variables, subject.state.pretext, train=False)
    for half, domain in ((0, SOURCE), (1, TARGET), (1, TARGET_TRUE)):
        own = jax.jit(gradients.loss_of_one(setup, first.loss_keys[half]))
        rows = [jax.tree.map(lambda leaf, i=i: leaf[i], first.prepared[half]) for i in range(2)]
        expected = [own(setup.encoder, row) for row in rows]
        np.testing.assert_allclose(
            found.scores["pretext_loss"][found.domain == domain][:2], expected, rtol=1e-4
        )


@pytest.mark.parametrize("domain", DOMAINS)
def test_scores_are_those_of_the_runs_network_on_the_views_of_its_step(found, seen, domain):
    of, own = found.domain == domain, seen[domain]
    skewness = np.nan_to_num(scipy.stats.skew(own.saliency, axis=1))  # 0 for a map that is constant
    np.testing.assert_allclose(found.scores["skewness"][of], skewness, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.scores["loss"][of], own.loss, rtol=1e-5)
    np.testing.assert_allclose(found.scores["mine"][of], np.abs(own.points).max(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(found.covariates["loss"][of], found.scores["loss"][of])
    confidence = scipy.special.softmax(own.logits, axis=1).max(axis=1)
    np.testing.assert_allclose(found.covariates["confidence"][of], confidence, rtol=1e-5)
    np.testing.assert_array_equal(found.label[of], own.label)
    np.testing.assert_array_equal(found.predicted[of], own.logits.argmax(axis=1))
    assert len(np.unique(found.scores["skewness"][of])) > 8


def test_rows_say_which_clouds_they_are_of(found, subjects, drawn):
    assert (found.group, found.seed, found.stage, found.step) == ("a group", 0, 1, 40)
    assert (found.name, found.statistic) == ("a group, seed 0, stage 1, step 40", "skewness")
    assert list(found.scores) == list(STATISTICS)
    index, label = ({d: v[found.domain == d] for d in DOMAINS} for v in (found.index, found.label))
    np.testing.assert_array_equal(index[SOURCE], drawn.rows[0][:2].ravel())
    np.testing.assert_array_equal(index[TARGET], drawn.rows[1][:2].ravel())
    np.testing.assert_array_equal(index[TARGET_TRUE], index[TARGET])
    np.testing.assert_array_equal(label[SOURCE], subjects[1].source.train.label[index[SOURCE]])
    np.testing.assert_array_equal(label[TARGET], subjects[1].labels.label[index[TARGET]])
    np.testing.assert_array_equal(label[TARGET_TRUE], subjects[1].target.train.label[index[TARGET]])
    np.testing.assert_array_equal(found.batch, np.tile(np.repeat([0, 1], 8), 3))


def test_true_labels_change_the_scores_where_they_differ_and_nowhere_else(found):
    of, true = (found.domain == d for d in (TARGET, TARGET_TRUE))
    same = found.label[of] == found.label[true]
    assert 0 < same.sum() < len(same)
    for name in ("skewness", "loss"):
        np.testing.assert_array_equal(found.scores[name][of][same], found.scores[name][true][same])
    assert (found.scores["loss"][of] != found.scores["loss"][true])[~same].all()
    for name in ("random", "mine"):  # read no label
        np.testing.assert_array_equal(found.scores[name][of], found.scores[name][true])


def test_random_scores_do_not_repeat_in_another_mini_batch_or_domain(found):
    assert len(np.unique(found.scores["random"])) == 32


def test_the_ratio_with_the_lowest_scores_is_kept_in_each_mini_batch_and_domain(found):
    for domain in DOMAINS:
        for number in range(2):
            of = (found.domain == domain) & (found.batch == number)
            scores, kept = found.scores["skewness"][of], found.kept[of]
            assert kept.sum() == kept_count(0.7, 8) == 6
            assert scores[kept].max() <= scores[~kept].min()


def with_selection(subject, **fields):
    config = subject.config.copy_and_resolve_references()
    config.selection.update(fields)
    return subject._replace(config=config)


def test_a_run_that_keeps_high_scores_and_one_without_selection(subjects, drawn, found):
    high = with_selection(subjects[1], side="high", keep_ratio=0.5)
    kept = examine.examine_scores(high, "", drawn, 0, {"loss": "loss"}).kept.reshape(-1, 8)
    assert (kept.sum(axis=1) == 4).all()
    scores = found.scores["skewness"].reshape(-1, 8)
    assert all(s[k].min() >= s[~k].max() for s, k in zip(scores, kept, strict=True))
    none = with_selection(subjects[1], statistic="none", side="")
    kept = examine.examine_scores(none, "", drawn, 0, {"loss": "loss"}).kept
    np.testing.assert_array_equal(kept, found.kept)  # what low skewness would keep


def test_a_function_that_bears_the_name_of_the_runs_statistic_is_what_is_scored(subjects, drawn, found):
    given = examine.examine_scores(subjects[1], "", drawn, 0, {"skewness": reach})
    np.testing.assert_array_equal(given.scores["skewness"], found.scores["mine"])
    np.testing.assert_array_equal(given.kept, found.kept)  # as the run keeps, by its own


def test_the_first_clouds_of_each_domain_are_shown(subjects, drawn, seen, found, monkeypatch):
    np.testing.assert_array_equal(found.shown, np.arange(3 * 16))
    monkeypatch.setattr(examine, "SHOWN", 5)
    few = examine.examine_scores(subjects[1], "", drawn, 0, {"loss": "loss"})
    np.testing.assert_array_equal(
        few.shown, np.concatenate([np.arange(5), np.arange(16, 21), np.arange(32, 37)])
    )
    for values, name in ((few.points, "points"), (few.saliency, "saliency")):
        expected = np.concatenate([getattr(seen[d], name)[:5] for d in DOMAINS])
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


def test_a_failing_statistic_is_told_with_the_checkpoint_and_the_domain(subjects, drawn):
    odd = lambda sample: jnp.log(sample.loss - 1e6)  # noqa: E731
    with pytest.raises(ValueError, match=r"stage 1, step 40, source \(first: sample 0\)") as told:
        examine.examine_scores(subjects[1], "", drawn, 0, {"odd": odd})
    assert "\n" not in str(told.value)


def test_measures_go_to_both_target_domains_and_the_references_among_the_scores(found):
    rng = np.random.default_rng(0)
    measures = {name: rng.normal(size=(2, 16)) for name in ("gain", "cos_c", "cos_o")}
    both = examine.with_measures(found, examine.Measured(measures, {}, {}))
    for name, (source, target) in measures.items():
        np.testing.assert_array_equal(both.measures[name], np.concatenate([source, target, target]))
    assert list(both.scores) == [*STATISTICS, "reference: cos_c", "oracle: cos_o"]
    np.testing.assert_array_equal(both.scores["oracle: cos_o"], both.measures["cos_o"])
