import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import smdsb_jax
from smdsb_jax.analysis import dropping
from smdsb_jax.analysis.dropping import HIGHEST, LOWEST, RANDOM, Outcome, drop_in_rounds, drop_points
from smdsb_jax.datasets import embedded
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.saliency import saliency
from smdsb_jax.state import Features


@pytest.fixture(scope="module")
def model(longer_runs):
    return smdsb_jax.load(longer_runs[0], stage=1)


@pytest.fixture(scope="module")
def split():
    return embedded.load("", "catalog", points=32).val


@pytest.fixture(scope="module")
def dropped(model, split):
    return drop_points(model, split, count=8, rounds=2, seeds=2)


def of_nothing(points):
    return Outcome(np.zeros(len(points)), np.ones(len(points), bool))


def test_of_the_squared_distance_the_farthest_points_have_the_lowest_saliency():
    half = np.random.default_rng(0).normal(size=(3, 10, 3))
    clouds = np.stack([half, -half], axis=2).reshape(3, 20, 3)  # x and -x: the median stays at 0
    maps = jax.vmap(lambda points: saliency(points, points, 1.0))  # the gradient of |x|²/2 is x

    def probe(points, _):
        return of_nothing(points), -np.asarray(maps(jnp.asarray(points)))

    found = [points for points, _ in drop_in_rounds(probe, clouds, 2, 4)]
    assert [points.shape for points in found] == [(3, 20 - 2 * number, 3) for number in range(5)]
    for cloud, left in zip(clouds, found[-1], strict=True):
        nearest = np.sort(np.argsort(np.linalg.norm(cloud, axis=1))[:12])
        np.testing.assert_array_equal(left, cloud[nearest])  # in their order


def test_the_map_is_of_what_remains():
    seen = []

    def probe(points, number):
        seen.append((number, points[0, :, 0].tolist()))
        return of_nothing(points), np.arange(points.shape[1])[None]

    clouds = np.arange(4.0)[None, :, None] * np.ones(3)
    assert len(list(drop_in_rounds(probe, clouds, 1, 2))) == 3
    assert seen == [(0, [0, 1, 2, 3]), (1, [0, 1, 2]), (2, [0, 1])]


@pytest.mark.parametrize("count, rounds", [(4, 5), (20, 1), (0, 1), (1, 0)])
def test_none_or_all_points_cannot_be_dropped(count, rounds):
    with pytest.raises(ValueError, match=f"{rounds} rounds of {count} points each .* of clouds of 20"):
        next(drop_in_rounds(lambda *_: 1 / 0, np.zeros((1, 20, 3)), count, rounds))


def test_an_encoder_refuses_too_few_points_before_any_work(model, split):
    dgcnn = model._replace(network=model.network._replace(encoder=ENCODERS["dgcnn"](k=20)))
    with pytest.raises(ValueError, match="encoder.k = 20"):
        drop_points(dgcnn, split, count=8, rounds=2, seeds=1)


def test_points_of_high_saliency_are_missed_more_than_any_and_those_of_low_less(dropped, split):
    loss = {kind: np.mean([o.loss for o in of_kind], axis=0) for kind, of_kind in dropped.outcomes.items()}
    assert all(of_kind.shape == (3, len(split.label)) for of_kind in loss.values())
    for number in (1, 2):
        assert loss[HIGHEST][number].mean() > loss[RANDOM][number].mean() + 0.02
        assert loss[LOWEST][number].mean() < loss[RANDOM][number].mean() - 0.02
    one, two = dropped.outcomes[RANDOM]
    assert not np.array_equal(one.loss[1], two.loss[1])


def test_the_whole_clouds_are_those_of_an_evaluation(dropped, model, split):
    sample = smdsb_jax.samples(model, split.points, split.label)
    for of_kind in dropped.outcomes.values():
        for outcome in of_kind:
            np.testing.assert_allclose(outcome.loss[0], sample.loss, rtol=1e-4)
            np.testing.assert_array_equal(outcome.correct[0], sample.logits.argmax(axis=-1) == split.label)
    expected = smdsb_jax.score(model, "skewness", split)
    np.testing.assert_allclose(dropped.skewness, expected, rtol=1e-3, atol=1e-3)


def test_without_all_but_the_critical_points_nothing_changes(model, split):
    points, label = split.points[:16], split.label[:16]
    critical = dropping.by_channels_won(model, label)

    def but_critical(points, number):
        outcome, won = critical(points, number)
        embedding = smdsb_jax.samples(model, points, label).embedding if number == 0 else None
        assert embedding is None or (won.sum(axis=1) == (np.asarray(embedding) > 0).sum(axis=1)).all()
        return outcome, -won

    whole, _, half = (outcome for _, outcome in drop_in_rounds(but_critical, points, 8, 2))
    np.testing.assert_allclose(half.loss, whole.loss, rtol=1e-4)
    lost = list(drop_in_rounds(critical, points, 8, 2))[-1][1]
    assert np.abs(lost.loss - whole.loss).min() > 1e-4


class Mean(nn.Module):
    @nn.compact
    def __call__(self, points, *, train):
        return Features(jnp.tile(points.mean(axis=1), 6)[:, :16], ())


def test_only_a_maximum_over_points_has_critical_ones(model):
    assert dropping.has_critical_points(model)
    other = model._replace(network=model.network._replace(encoder=Mean()))
    assert not dropping.has_critical_points(other)
