"""Samples for the tests of statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.state import Sample
from smdsb_jax.statistics import STATISTICS


def samples(batch, n, seed=0):
    k = jax.random.split(jax.random.key(seed), 6)
    pretext_key = jax.random.fold_in(k[5], 1)
    return Sample(
        points=jax.random.normal(k[0], (batch, n, 3)),
        gradient=jax.random.normal(k[1], (batch, n, 3)),
        saliency=jax.random.normal(k[2], (batch, n)),
        embedding=jax.random.normal(k[3], (batch, 8)),
        logits=jax.random.normal(k[4], (batch, 5)),
        loss=jnp.abs(jax.random.normal(k[5], (batch,))),
        label=jnp.zeros(batch, jnp.int32),
        key=jax.random.split(jax.random.key(seed), batch),
        pretext_loss=jnp.abs(jax.random.normal(pretext_key, (batch,))),
    )


def sample(saliency=(0.0,), *, logits=(0.0, 0.0, 0.0), label=0, embedding=(0.0,), loss=0.0):
    """One sample of which a test says only what its statistic reads."""
    n = len(saliency)
    return Sample(
        points=jnp.zeros((n, 3)),
        gradient=jnp.zeros((n, 3)),
        saliency=jnp.asarray(saliency, jnp.float32),
        embedding=jnp.asarray(embedding, jnp.float32),
        logits=jnp.asarray(logits, jnp.float32),
        loss=jnp.asarray(loss, jnp.float32),
        label=jnp.asarray(label, jnp.int32),
        key=jax.random.key(0),
        pretext_loss=jnp.asarray(2.0 * loss, jnp.float32),
    )


@functools.cache  # so that jax finds its compiled programs again
def compiled(name):
    """The statistic over a batch, as the step runs it."""
    return jax.jit(jax.vmap(STATISTICS[name].score))


@functools.cache
def compiled_on_maps(name):
    return jax.jit(jax.vmap(lambda s: STATISTICS[name].score(sample(np.zeros(len(s)))._replace(saliency=s))))


def scores_of_maps(name, maps):
    """Of each row of an array [batch n]."""
    return np.asarray(compiled_on_maps(name)(jnp.asarray(maps, jnp.float32)))


def score_of_map(name, saliency):
    return float(scores_of_maps(name, np.asarray(saliency)[None])[0])


def sparse_maps(batch, n, share=0.86, seed=0):
    """Mostly exact zeros, as maps of max-pooling networks in inference mode."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((batch, n)) < share, 0.0, rng.normal(size=(batch, n)) ** 3).astype(np.float32)
