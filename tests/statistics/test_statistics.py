import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.state import Sample
from smdsb_jax.statistics import STATISTICS, Statistic, find_statistic


def samples(batch, n, seed=0):
    k = jax.random.split(jax.random.key(seed), 6)
    return Sample(
        points=jax.random.normal(k[0], (batch, n, 3)),
        gradient=jax.random.normal(k[1], (batch, n, 3)),
        saliency=jax.random.normal(k[2], (batch, n)),
        embedding=jax.random.normal(k[3], (batch, 8)),
        logits=jax.random.normal(k[4], (batch, 5)),
        loss=jnp.abs(jax.random.normal(k[5], (batch,))),
        label=jnp.zeros(batch, jnp.int32),
        key=jax.random.split(jax.random.key(seed), batch),
    )


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_is_finite_scalar_and_lowers_for_gpus(name):
    score = jax.jit(jax.vmap(STATISTICS[name].score))
    scores = score(samples(6, 32))
    assert scores.shape == (6,) and scores.dtype == jnp.float32
    assert np.isfinite(scores).all() and len(set(np.asarray(scores).tolist())) == 6
    flat = samples(2, 32)._replace(saliency=jnp.zeros((2, 32)))
    assert np.isfinite(score(flat)).all()
    assert score.trace(samples(6, 32)).lower(lowering_platforms=("cuda",)).as_text()
    assert STATISTICS[name].side in ("low", "high")


def test_a_users_function_needs_no_registration(tmp_path, monkeypatch):
    (tmp_path / "my_statistic.py").write_text(
        "def spread(sample):\n    return sample.saliency.max()\n\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = find_statistic("my_statistic:spread")
    assert isinstance(found, Statistic) and found.target_shift == (0.0, 0.0)
    with pytest.raises(ValueError, match="is a int, not a function"):
        find_statistic("my_statistic:number")
    with pytest.raises(ValueError, match="cannot be imported"):
        find_statistic("my_statistic:nothing")


def test_a_misspelt_name_gets_the_right_one():
    with pytest.raises(
        ValueError, match=r"'skewnes' is not known\. Did you mean 'skewness'\? Known: random, skewness"
    ):
        find_statistic("skewnes")
