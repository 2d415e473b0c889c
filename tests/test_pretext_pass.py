"""Which rows the pretext passes get; the losses themselves are held in tests/pretext and test_train_step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.network import passes_of
from smdsb_jax.pretext import View
from smdsb_jax.pretext_pass import add_pretext_losses, divisor_of, mean_of_kept, pretext_rows
from smdsb_jax.selection import Selection
from smdsb_jax.state import Batch, Clouds, Pair
from tests.statistics.made_samples import samples
from tests.test_train_step import BATCH as CLOUDS
from tests.test_train_step import augmented_of, started
from tests.test_train_step import batch_of as step_batch

BATCH = 4
MASKED = Selection(lambda s: s.loss, "low", 0.5, "per_domain", "batch", (0.0, 0.0), "mask")
GATHERED = MASKED._replace(execution="gather")
KEEP = Pair(jnp.array([False, True, False, True]), jnp.array([True, True, False, False]))


def batch_of(points, labelled):
    clouds = Clouds(jnp.arange(BATCH * points * 3.0).reshape(BATCH, points, 3), jnp.arange(BATCH))
    return Batch(clouds, clouds if labelled else clouds._replace(label=None))


@pytest.mark.parametrize(
    "selection, domain, labelled, rows",
    [
        (None, "source", True, range(BATCH)),
        (MASKED, "source", True, range(BATCH)),
        (GATHERED, "source", True, [1, 3]),
        (GATHERED, "target", True, [0, 1]),
        (GATHERED, "target", False, range(BATCH)),  # stage 1 keeps all of the target
        (GATHERED._replace(freeze_unlabelled=True), "target", False, [0, 1]),
    ],
)
def test_gathering_takes_the_kept_rows_of_all_that_belongs_to_a_cloud(selection, domain, labelled, rows):
    augmented, stored = batch_of(2, labelled), batch_of(3, labelled)
    clouds, before, mask, batch = pretext_rows(selection, augmented, stored, KEEP, domain)
    rows = list(rows)
    np.testing.assert_array_equal(clouds.points, augmented.source.points[jnp.array(rows)])
    np.testing.assert_array_equal(before.points, stored.source.points[jnp.array(rows)])
    assert batch == BATCH and (clouds.label is None) == (not labelled and domain == "target")
    whole = len(rows) == BATCH
    np.testing.assert_array_equal(mask, getattr(KEEP, domain) if whole else [True, True])


def test_the_mean_is_the_same_of_masked_and_of_gathered_rows():
    loss = jnp.array([1.0, 2.0, 3.0, 6.0])
    some, ones = loss[jnp.array([1, 3])], jnp.ones(2, bool)
    for denominator, expected in (("batch", 2.0), ("kept", 4.0)):
        masked, gathered = (s._replace(denominator=denominator) for s in (MASKED, GATHERED))
        divisor = divisor_of(masked, KEEP.source, BATCH)
        assert mean_of_kept(loss, KEEP.source, divisor) == expected
        halves = [mean_of_kept(loss[i::2], KEEP.source[i::2], divisor) for i in range(2)]
        assert sum(halves) == expected and 0 in halves  # of parts of the batch: their shares of it
        assert mean_of_kept(some, ones, divisor_of(gathered, ones, BATCH)) == expected
    every = jnp.ones(BATCH, bool)
    assert mean_of_kept(loss, every, divisor_of(None, every, BATCH)) == 3.0


def test_a_sample_has_the_weighted_pretext_loss_that_it_would_have_alone_and_an_unlabelled_target_none():
    parts, state = started(1)
    augmented, stored, key = augmented_of(1), step_batch(1), jax.random.key(3)
    given = Pair(samples(CLOUDS, 8)._replace(pretext_loss=None), None)
    add = jax.jit(lambda state: add_pretext_losses(parts, key, state, stored, augmented, given))
    found = add(state)
    assert found.target is None

    @jax.jit
    def alone(state):
        of_source = jax.random.split(key)[0]
        prepare_key, loss_key = jax.random.split(of_source)
        view = View(
            augmented.source.points, stored.source.points, stored.source.label, "source", jnp.zeros(())
        )
        prepared = parts.pretext.prepare(view, prepare_key)

        def one(row):
            only = jax.tree.map(lambda leaf: leaf[row][None], prepared)
            passes = passes_of(parts.network)
            return parts.pretext.loss(passes, state.variables, (), only, loss_key, train=False).per_sample

        return jax.lax.map(one, jnp.arange(CLOUDS))

    (losses,) = alone(state).values()
    assert parts.pretext_weight != 1
    np.testing.assert_allclose(found.source.pretext_loss, parts.pretext_weight * losses[:, 0], rtol=1e-4)
