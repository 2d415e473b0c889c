import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import Evidence
from smdsb_jax.pseudo_labels.voted import BLOCK, count_votes, most_similar, voted
from smdsb_jax.run.labelling import refinement_steps
from smdsb_jax.state import Predictions

KEY = jax.random.key(0)


def evidence(target, source, label, classes=3):
    def predictions(embedding):
        return Predictions(jnp.zeros((len(embedding), classes)), jnp.asarray(embedding, jnp.float32))

    return Evidence(predictions(target), predictions(source), jnp.asarray(label, jnp.int32))


def fan(*labels):
    """One target cloud on the x axis, and source clouds that turn away from it in the order of the labels."""
    angle = 0.05 * (1 + np.arange(len(labels)))
    return evidence([[1, 0]], np.stack([np.cos(angle), np.sin(angle)], axis=1), labels)


@functools.cache
def compiled(**options):
    return jax.jit(functools.partial(voted(**options).assign, KEY))


def found(clouds, **options):
    """Label, weight and confidence of the first cloud."""
    return tuple(float(of[0]) for of in compiled(**options)(clouds))


def test_nine_of_ten_votes_reach_nine_tenths_but_not_all():
    votes = fan(2, *[0] * 9, 1, 1, 1)  # those beyond the tenth have none
    assert found(votes, threshold=0.9) == (0, 1, pytest.approx(0.9))
    assert found(votes) == (0, 0, pytest.approx(0.9))
    assert found(fan(*[1] * 10, 0, 0, 0)) == (1, 1, 1)


@pytest.mark.parametrize("first, other", [(1, 2), (2, 1)])
def test_of_equal_votes_the_nearest_neighbors_label(first, other):
    assert found(fan(first, *[other] * 5, *[first] * 4, 0, 0, 0)) == (first, 0, 0.5)
    three = fan(0, first, other, first, other, *[0] * 8)  # the nearest of all is not among the equal ones
    assert found(three, neighbors=5) == (first, 0, pytest.approx(0.4))


@pytest.fixture(scope="module")
def crowd():
    """More target clouds than a block has, of features that are far from unit length."""
    rng = np.random.default_rng(1)
    length = rng.uniform(1e-3, 1e3, (100 + BLOCK + 40, 1))
    rows = (length * rng.normal(size=(len(length), 8))).astype(np.float32)
    return rows[100:], rows[:100], rng.choice(3, 100, p=[0.7, 0.2, 0.1])


def by_numpy(target, bank, label, weigh):
    """Votes [clouds, 3] of the ten with the least angle; the votes' weights by (cosine, label)."""
    unit = [rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True) for rows in (target, bank)]
    cosine = unit[0] @ unit[1].T
    index = np.argsort(np.arccos(np.clip(cosine, -1, 1)), axis=1)[:, :10]
    weight = weigh(np.take_along_axis(cosine, index, axis=1), label[index])
    return np.stack([(weight * (label[index] == c)).sum(axis=1) for c in range(3)], axis=1)


def test_one_neighbor_that_is_the_cloud_itself(crowd):
    _, bank, label = crowd
    labels = compiled(neighbors=1)(evidence(7.5 * bank[::-1], bank, label))
    np.testing.assert_array_equal(labels.label, label[::-1])
    np.testing.assert_array_equal(labels.weight, np.ones(len(label)))


@pytest.mark.parametrize("vote_weight", ["none", "similarity", "class_balanced"])
def test_the_votes_of_many_clouds_are_numpys(crowd, vote_weight):
    target, bank, label = crowd
    weigh = {
        "none": lambda cosine, label: np.ones(label.shape),
        "similarity": lambda cosine, label: np.maximum(cosine, 0),
        "class_balanced": lambda cosine, of: 1 / np.bincount(label)[of],
    }[vote_weight]
    votes = by_numpy(target, bank, label, weigh)
    labels = compiled(vote_weight=vote_weight, threshold=0.7)(evidence(target, bank, label))
    assert len(labels.label) == len(target)
    share = votes.max(axis=1) / votes.sum(axis=1)
    np.testing.assert_allclose(labels.confidence, share, rtol=1e-5)
    np.testing.assert_array_equal(labels.weight, share >= 0.7 - 1e-6)
    clear = np.sort(votes, axis=1)[:, 2] - np.sort(votes, axis=1)[:, 1] > 1e-6
    np.testing.assert_array_equal(labels.label[clear], votes.argmax(axis=1)[clear])
    assert 0.1 < np.mean(labels.weight) < 0.9 and clear.mean() > 0.8


def test_rare_classes_have_votes_of_more_weight():
    near = fan(*[0] * 6, *[1] * 4)  # of 90 and 10 clouds
    far = np.repeat([[-1.0, 0.0]], 90, axis=0)
    source = np.concatenate([near.source.embedding, far])
    votes = evidence([[1, 0]], source, [*near.source_label, *[0] * 84, *[1] * 6])
    assert found(votes) == (0, 0, pytest.approx(0.6))
    assert found(votes, vote_weight="class_balanced") == (1, 0, pytest.approx(0.4 / (0.4 + 6 / 90)))


def test_a_higher_threshold_keeps_fewer_of_the_same(crowd):
    target, bank, label = crowd
    clouds = evidence(target, bank, label)
    kept = [np.asarray(compiled(threshold=t)(clouds).weight) for t in (0.0, 0.7, 1.0)]
    assert kept[0].all()
    for more, fewer in itertools.pairwise(kept):
        assert (fewer <= more).all() and 0 < fewer.sum() < more.sum()


def test_the_length_of_an_embedding_does_not_matter(crowd):
    target, bank, label = crowd
    of = compiled(vote_weight="similarity", threshold=0.7)
    first, again = of(evidence(target, bank, label)), of(evidence(2.0**9 * target, 2.0**-9 * bank, label))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_embeddings_of_no_length_give_no_nan(crowd):
    target, bank, label = crowd
    for vote_weight in ("none", "similarity", "class_balanced"):
        of = compiled(vote_weight=vote_weight, threshold=0.7)
        for clouds in (evidence(0 * target, bank, label), evidence(target, 0 * bank, label)):
            assert all(np.isfinite(a).all() for a in of(clouds))


def test_similarities_of_all_clouds_never_exist_at_once():
    clouds = 8 * BLOCK
    rows = jax.ShapeDtypeStruct((clouds, 4), jnp.float32)
    compiled = jax.jit(most_similar, static_argnums=2).lower(rows, rows, 10).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * clouds**2 / 3


def test_fewer_source_clouds_than_neighbors_all_vote():
    assert found(fan(1, 1, 0)) == (1, 0, pytest.approx(2 / 3))


def test_it_votes_anew_at_each_refinement_and_remembers_nothing():
    rule = voted()
    assert rule.needs_source and rule.may_leave_out and not voted(threshold=0.0).may_leave_out
    refine = jax.jit(lambda labels, clouds: rule.refine(KEY, labels, clouds, jnp.asarray(0.5)))
    first = compiled()(fan(*[1] * 13))
    then = refine(first, fan(*[2] * 9, *[0] * 4))
    assert (int(then.label[0]), float(then.weight[0])) == (2, 0)
    for a, b in zip(first, refine(then, fan(*[1] * 13)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(refinement_steps(rule, 1400)) == list(range(10, 1400, 10))  # every epoch of 140


def test_no_votes_of_any_weight_have_no_share():
    label, share = jax.jit(count_votes, static_argnums=2)(jnp.array([[2, 1]]), jnp.zeros((1, 2)), 3)
    assert (int(label[0]), float(share[0])) == (2, 0)


@pytest.mark.parametrize(
    "option",
    [{"neighbors": 0}, {"threshold": 1.2}, {"vote_weight": "euclidean"}, {"refinements": -1}],
    ids=str,
)
def test_impossible_options_are_refused(option):
    with pytest.raises(ValueError, match=rf"config\.pseudo_labels\.{next(iter(option))} = "):
        voted(**option)
