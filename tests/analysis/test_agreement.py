import functools

import jax
import numpy as np
import pytest
import scipy.stats

from smdsb_jax import inference, resolve
from smdsb_jax.analysis.agreement import saliency_agreement
from smdsb_jax.augment import augment_batch
from smdsb_jax.build import build_parts, init_state, load_domain
from smdsb_jax.sampling import sample_batch
from tests.tiny_run import tiny_config


@pytest.fixture(scope="module")
def run():
    """A network that has not been trained."""
    config = resolve(tiny_config())
    source = load_domain(config, "source")
    parts = build_parts(config, 1, len(source.classes))
    variables = jax.jit(functools.partial(init_state, parts))(jax.random.key(0)).variables
    return inference.Model(config, source.classes, parts.network, variables, 1, 0), source.train


def with_statistic(model, name):
    config = model.config.copy_and_resolve_references()
    config.selection.statistic = name
    return model._replace(config=config)


def test_the_modes_differ_and_the_numbers_are_of_their_scores(run):
    model, source = run
    found = saliency_agreement(model, source, batches=3)
    assert found.per_sample.shape == found.shared.shape == (3, 8)
    assert found.by_chance == 6 / 8
    for i in range(3):
        kept, other = (set(np.argsort(s[i], kind="stable")[:6]) for s in (found.per_sample, found.shared))
        assert found.overlap[i] == len(kept & other) / 6
        expected = scipy.stats.spearmanr(found.per_sample[i], found.shared[i]).statistic
        assert found.rank_correlation[i] == pytest.approx(expected)
    assert np.abs(found.rank_correlation).max() < 1  # batch statistics and dropout are in one of them only


def test_the_scores_are_of_the_mini_batches_of_stage_1_as_the_step_sees_them(run):
    model, source = run
    step = 1
    found = saliency_agreement(model, source, batches=step + 1)
    batch = sample_batch(model.config.seed, 1, step, 8, source, source, None)
    parts = build_parts(model.config, 1, len(model.classes))
    key = jax.random.split(jax.random.fold_in(jax.random.key(model.config.seed), step), 3)[0]
    seen = jax.jit(lambda k, b: augment_batch(parts.augment, k, b))(key, batch).source
    keys = jax.random.split(jax.random.key(0), 8)
    samples = inference.measure(model, np.asarray(seen.points), np.asarray(seen.label), keys)
    expected = inference.apply_statistic(model, "skewness", samples)
    np.testing.assert_allclose(found.per_sample[step], expected, rtol=1e-3, atol=1e-4)


def test_scores_that_read_no_saliency_agree_wholly(run):
    model, source = run
    found = saliency_agreement(with_statistic(model, "random"), source, batches=2)
    assert found.overlap.tolist() == [1, 1]
    np.testing.assert_allclose(found.rank_correlation, 1)


def test_a_run_without_selection_is_refused(run):
    model, source = run
    with pytest.raises(ValueError, match="scores nothing"):
        saliency_agreement(with_statistic(model, "none"), source)
