import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from smdsb_jax.state import Sample
from smdsb_jax.statistics import STATISTICS


def test_uniform_by_the_key_alone():
    def score(key, scale):
        zeros = jnp.zeros(())
        saliency = scale * jnp.arange(4.0)
        return STATISTICS["random"].score(
            Sample(
                jnp.zeros((4, 3)),
                jnp.zeros((4, 3)),
                saliency,
                jnp.zeros(2),
                jnp.zeros(2),
                zeros,
                jnp.zeros((), int),
                key,
            )
        )

    scores = np.asarray(jax.vmap(lambda k: score(k, 1.0))(jax.random.split(jax.random.key(0), 2000)))
    assert scipy.stats.kstest(scores, "uniform").pvalue > 1e-3
    assert score(jax.random.key(3), 1.0) == score(jax.random.key(3), 100.0)
