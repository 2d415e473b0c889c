import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.selection import keep_mask
from smdsb_jax.statistics import STATISTICS, Statistic, find_statistic
from tests.statistics.made_samples import compiled, samples, scores_of_maps, sparse_maps

SIZES = {"saliency_norm", "saliency_maximum"}  # grow with the map; the shapes do not
SHAPES = {
    "skewness",
    "adjusted_skewness",
    "medcouple",
    "l_skewness",
    "kurtosis",
    "gini",
    "entropy",
    "top_mass",
}
OF_PREDICTION = {"loss", "margin", "prediction_entropy", "el2n", "grand"}


def test_every_statistic_has_its_kind():
    assert SHAPES | SIZES | OF_PREDICTION | {"pretext_loss", "random"} == set(STATISTICS)


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_is_finite_scalar_and_lowers_for_gpus(name):
    score = compiled(name)
    scores = score(samples(6, 32))
    assert scores.shape == (6,) and scores.dtype == jnp.float32
    assert np.isfinite(scores).all() and len(set(np.asarray(scores).tolist())) == 6
    assert score.trace(samples(6, 32)).lower(lowering_platforms=("cuda",)).as_text()
    assert STATISTICS[name].side in ("low", "high")


@pytest.mark.parametrize("name", STATISTICS)
def test_the_score_of_a_sample_is_the_same_alone_and_whatever_the_order_of_its_points(name):
    many = samples(3, 33)
    together = compiled(name)(many)
    alone = [STATISTICS[name].score(jax.tree.map(lambda x, i=i: x[i], many)) for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    order = np.random.default_rng(0).permutation(33)
    mixed = many._replace(**{f: getattr(many, f)[:, order] for f in ("points", "gradient", "saliency")})
    np.testing.assert_allclose(compiled(name)(mixed), together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [16, 1000, 1024])
@pytest.mark.parametrize("name", STATISTICS)
def test_a_constant_map_has_a_finite_score_and_gradient(name, n):
    values = jnp.asarray([0.0, 0.3, -0.3, 1e-20, 1e15])
    flat = samples(5, n)._replace(saliency=jnp.repeat(values[:, None], n, axis=1))
    flat = flat._replace(
        logits=flat.logits.at[0].set(jnp.array([200.0, 0, 0, 0, 0]))
    )  # and a sure prediction

    def score(saliency, logits, embedding, rest):
        return STATISTICS[name].score(rest._replace(saliency=saliency, logits=logits, embedding=embedding))

    both = jax.jit(jax.vmap(jax.value_and_grad(score, argnums=(0, 1, 2))))
    scores, gradients = both(flat.saliency, flat.logits, flat.embedding, flat)
    chex.assert_tree_all_finite((scores, gradients))
    if name in SHAPES:
        np.testing.assert_allclose(scores, scores[0], atol=1e-6)  # zeros are as even as any constant


@pytest.mark.parametrize("factor", [1e-20, 1e-9, 1e6, 1e15])
@pytest.mark.parametrize("name", sorted(SHAPES | SIZES))
def test_the_shape_of_a_map_has_no_scale_and_its_size_has(name, factor):
    maps = np.concatenate([sparse_maps(3, 500), np.random.default_rng(1).normal(size=(3, 500)) ** 3])
    scores = scores_of_maps(name, maps * factor).astype(np.float64) / (factor if name in SIZES else 1)
    np.testing.assert_allclose(scores, scores_of_maps(name, maps), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_map_that_leans_on_few_points_is_kept_after_one_that_leans_on_many(name):
    rng = np.random.default_rng(0)
    many, few = rng.uniform(0, 1, 500), rng.gamma(0.05, size=500)
    for maps, first in (([many, few], 0), ([few, many], 1)):
        scores = jnp.asarray(scores_of_maps(name, np.stack(maps)))
        assert np.flatnonzero(keep_mask(scores, 0.5, STATISTICS[name].side)).tolist() == [first]


@pytest.mark.parametrize("name", sorted(OF_PREDICTION))
def test_an_easy_sample_is_kept_before_a_hard_one(name):
    pair = samples(2, 16)
    logits = jnp.array([[0.2, 0.1, 0.0, 0.1, 0.0], [4.0, 0.0, 0.0, 0.0, 0.0]])
    loss = -jax.nn.log_softmax(logits)[:, 0]
    scores = compiled(name)(
        pair._replace(logits=logits, loss=loss, embedding=pair.embedding[:1].repeat(2, 0))
    )
    assert keep_mask(scores, 0.5, STATISTICS[name].side).tolist() == [False, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("others", [0.0, 1.0])
@pytest.mark.parametrize("name", sorted(SHAPES | SIZES))
def test_a_map_that_is_not_finite_scores_nan_and_its_batch_goes_before_it(name, others, bad):
    maps = np.random.default_rng(0).normal(size=(4, 20))
    maps[0] *= others
    maps[0, 7] = bad
    scores = jnp.asarray(scores_of_maps(name, maps))
    assert np.isnan(scores).tolist() == [True, False, False, False]
    for side in ("low", "high"):
        assert keep_mask(scores, 0.75, side).tolist() == [False, True, True, True]


@pytest.mark.parametrize("name", sorted(OF_PREDICTION))
def test_a_prediction_that_is_nan_scores_nan(name):
    many = samples(2, 16)
    broken = many._replace(logits=many.logits.at[0, 2].set(jnp.nan), loss=many.loss.at[0].set(jnp.nan))
    assert np.isnan(compiled(name)(broken)).tolist() == [True, False]


def test_a_users_function_needs_no_registration(tmp_path, monkeypatch):
    (tmp_path / "my_statistic.py").write_text(
        "from smdsb_jax.statistics import Statistic\n"
        "def spread(sample):\n    return sample.saliency.max()\n\nnumber = 3\n"
        "gap = Statistic(lambda s: s.pretext_loss - s.loss, side='high', needs_pretext=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = find_statistic("my_statistic:spread")
    assert isinstance(found, Statistic) and found.target_shift == (0.0, 0.0)
    own = find_statistic("my_statistic:gap")
    assert own.needs_pretext and own.side == "high" and find_statistic(own) is own
    with pytest.raises(ValueError, match="is a int; it must be a Python function"):
        find_statistic("my_statistic:number")
    with pytest.raises(ValueError, match="cannot be imported"):
        find_statistic("my_statistic:nothing")


def test_a_misspelt_name_gets_the_right_one():
    with pytest.raises(
        ValueError, match=r"'skewnes' is not known\. Did you mean 'skewness'\? Known: adjusted_skewness, el2n"
    ):
        find_statistic("skewnes")
