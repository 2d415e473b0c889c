"""Rules on gradients that are given as rows of numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.combine import Merged, Told

G_1, G_2 = (1.0, 0.0), (-1.0, 1.0)  # the reference pair, whose cosine is -1 / sqrt(2)


def trees_of(rows):
    """Two tensors each, the second filled up with zeros."""
    rows = jnp.asarray(rows, float)
    return tuple({"agg": row[:1, None], "rest": jnp.concatenate([row[1:], jnp.zeros(3)])} for row in rows)


def told_of(losses, solved=None):
    names = ("class", *(f"pretext/{i}" for i in range(1, len(losses))))
    solved = [jnp.nan] * len(losses) if solved is None else solved
    return Told(names, jnp.asarray(losses, float), jnp.asarray(solved, float), jnp.zeros(()))


def merge(rule, *rows, losses=None, solved=None, state=None, key=0) -> Merged:
    """One step; without a state the first. The encoder's gradient comes back as a row of the given length."""
    gradients, told = trees_of(rows), told_of(losses or [1.0] * len(rows), solved)
    state = rule.init(gradients[0], told.tasks) if state is None else state
    merged = rule.update(jax.random.key(key), gradients, told, state)
    whole = np.concatenate([np.ravel(merged.encoder["agg"]), merged.encoder["rest"]])
    assert (whole[len(rows[0]) :] == 0).all()
    return merged._replace(encoder=whole[: len(rows[0])])


def merge_each(rule, draws):
    """First steps of a rule on each of the draws, in one program: the encoder's gradients as rows."""

    def one(key, rows):
        gradients = tuple({"agg": row} for row in rows)
        told = told_of([1.0] * len(rows))
        return rule.update(key, gradients, told, rule.init(gradients[0], told.tasks)).encoder["agg"]

    keys = jax.random.split(jax.random.key(0), len(draws))
    return np.asarray(jax.jit(jax.vmap(one))(keys, jnp.asarray(draws)))


def random_rows(tasks, draws=20, size=6):
    """Gradients of different lengths, many of them in conflict."""
    rng = np.random.default_rng(tasks)
    return rng.normal(size=(draws, tasks, size)) * np.exp(rng.normal(size=(draws, tasks, 1)) / 2)
