import jax
import numpy as np
import scipy.stats

from smdsb_jax.statistics import STATISTICS
from tests.statistics.made_samples import sample


def test_uniform_by_the_key_alone():
    def score(key, scale):
        return STATISTICS["random"].score(sample(scale * np.arange(4.0))._replace(key=key))

    scores = np.asarray(jax.vmap(lambda k: score(k, 1.0))(jax.random.split(jax.random.key(0), 2000)))
    assert scipy.stats.kstest(scores, "uniform").pvalue > 1e-3
    assert score(jax.random.key(3), 1.0) == score(jax.random.key(3), 100.0)
