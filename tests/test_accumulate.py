import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import network, train_step
from smdsb_jax.accumulate import OfPart, over_parts, rows_of_parts
from smdsb_jax.selection import select
from tests.test_train_step import exact
from tests.tiers import cases

GATHER = {"selection__execution": "gather", "selection__scope": "per_domain", "selection__keep_ratio": 0.5}
WAYS = [
    (1, {"selection__denominator": "kept", "combine": "pcgrad"}),
    (1, GATHER | {"selection__denominator": "kept", "combine": "mgda"}),
    (2, {"selection__denominator": "kept", "combine": "pcgrad", "selection__statistic": "pretext_loss"}),
    (2, GATHER | {"saliency__mode": "shared", "classification__label_weights": "batch_mean"}),
    (2, {"task": "segmentation"}),
]


def test_parts_are_added_up_put_together_and_follow_each_other():
    def run(key, carried, rows):
        return OfPart(
            rows.sum(), (rows, jnp.full(len(rows), jax.random.uniform(key))), carried * 10 + rows[0]
        )

    rows = jnp.arange(1.0, 7.0)
    for count, carried in ((1, 1.0), (2, 12.0), (3, 123.0)):  # part i starts with sample i
        found = over_parts(count, run, jax.random.key(0), jnp.zeros(()), rows)
        assert (found.total, found.carried) == (21, carried)
        np.testing.assert_array_equal(found.rows[0], rows)
        assert len(np.unique(found.rows[1])) == count  # each draws by itself
        np.testing.assert_array_equal(rows_of_parts(count, jnp.multiply, rows, rows), rows**2)


@pytest.mark.parametrize("way", cases(WAYS, WAYS[0]), ids=str)
def test_gradients_and_masks_are_those_of_the_whole_batch_where_batch_norm_does_not_look(way, monkeypatch):
    stage, fields = way

    def alone(module, constant, own, args, rngs):
        return module.apply(own, *args, train=False), {"batch_stats": own.get("batch_stats", {})}

    masks = []

    def record(*args):
        masks.append(select(*args))
        return masks[-1]

    monkeypatch.setattr(network, "_apply_in_training", alone)
    monkeypatch.setattr(train_step, "select", record)
    with jax.enable_x64(True):
        _, parts, state, batch = exact(stage, **fields)

        @functools.partial(jax.jit, static_argnums=0)
        def step(count):
            keys, divided = train_step.step_keys(state), parts._replace(accumulate=count)
            found = train_step.task_gradients(divided, keys, state, batch)
            return masks[-1][0], found.gradients, found.metrics, found.told[1:]

        (kept, *whole), (other, *parted) = step(1), step(2)
        chex.assert_trees_all_equal(kept, other)  # bit for bit
        assert 0 < np.mean(kept.source) < 1
        chex.assert_trees_all_close(parted, whole, rtol=1e-9, atol=1e-11)
        sizes = [max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(g)) for g in whole[0]]
        assert len(sizes) == 2 and min(sizes) > 1e-4
