import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smdsb_jax import resolve
from smdsb_jax.analysis import watch
from smdsb_jax.analysis.watch import products, told, watch_gradients
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.run import loop
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.run.records import read_records
from smdsb_jax.state import Batch, Clouds
from smdsb_jax.train_step import train_step
from tests.run.test_loop import assert_same_run
from tests.shared import step_that_moves_all
from tests.tiers import exhaustive
from tests.tiny_run import step_config, tiny_config


def test_cosines_are_those_of_the_vectors_and_0_with_a_zero_vector():
    class_, oracle, other = np.array([[1.0, 0], [1, 1], [0, 0]])
    pretext = np.array([0.0, 1])
    stacked = np.stack([class_, pretext, class_ + pretext, oracle, other])
    found = told(stacked @ stacked.T, pretext=True)
    assert found["cos_class_oracle"] == pytest.approx(0.70710678) and found["cos_total_oracle"] == 1
    assert found["cos_class_pretext"] == 0 and found["norm_total"] == pytest.approx(np.sqrt(2))
    assert found["cos_oracle_oracle"] == 0.0  # no NaN
    assert not any("pretext" in name for name in told(stacked @ stacked.T, pretext=False))


def test_the_gradients_are_those_that_the_step_follows_and_oracles_of_one_batch_agree():
    config = resolve(step_config(selection__statistic="none"))
    parts = build_parts(config, 1, 3)._replace(optimizer=optax.sgd(1.0))
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    points = jax.random.uniform(jax.random.key(1), (3, 8, 40, 3), minval=-0.6, maxval=0.6)
    label = jnp.arange(8) % 3
    batch = Batch(Clouds(points[0], label), Clouds(points[1]))
    # the source is its own oracle too, but for view and dropout
    oracles = Clouds(*(jnp.stack([a, b]) for a, b in ((points[0], points[2]), (label, label))))

    @jax.jit
    def both(state, batch):
        after, _ = train_step(parts, state, batch)
        encoders = [s.variables["params"]["encoder"] for s in (state, after)]
        return products(parts, jax.random.key(0), oracles, state, batch), optax.tree.norm(
            jax.tree.map(jnp.subtract, *encoders)
        )

    gram, moved = jax.device_get(both(state, batch))
    assert np.sqrt(gram[2, 2]) == pytest.approx(moved, rel=1e-4)
    assert gram[2, 2] == pytest.approx(gram[0, 0] + 2 * gram[0, 1] + gram[1, 1], rel=1e-4)
    assert gram[3, 3] > 0 and gram[1, 1] > 0
    eigenvalues = np.linalg.eigvalsh(gram)
    assert eigenvalues[0] > -1e-4 * eigenvalues[-1]


def products_without_network(parts, key, oracles, state, batch, scores):
    """Compiles at once, and moves with all that it is given."""
    leaves = jax.tree.leaves((oracles, state.variables, batch))
    vectors = jax.random.normal(key, (5, 8)) * sum(leaf.astype(float).mean() for leaf in leaves)
    return vectors @ vectors.T


@exhaustive
def test_a_watched_run_is_the_same_bit_for_bit_and_so_are_its_records_after_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_that_moves_all)
    monkeypatch.setattr(watch, "products", products_without_network)
    sample = loop.sample_batch
    config = tiny_config(stages=(1,))
    watching = watch_gradients(config, 2)
    train_and_evaluate(config, tmp_path / "plain")
    train_and_evaluate(config, tmp_path / "watched", watching)
    assert_same_run(tmp_path / "plain", tmp_path / "watched")
    plain, watched = (read_records(tmp_path / n / "metrics.jsonl") for n in ("plain", "watched"))
    is_watch = lambda record: "watch/cos_total_oracle" in record  # noqa: E731
    assert plain == [r for r in watched if not is_watch(r)]
    seen = [r for r in watched if is_watch(r)]
    assert [r["step"] for r in seen] == [2, 4, 6] and all(len(r) == 2 + 5 + 4 for r in seen)
    assert all(-1 <= v <= 1 for r in seen for name, v in r.items() if "cos" in name)

    def killing(*args, **kwargs):
        if kwargs["step"] == 4:  # after the checkpoint of step 3 and the watch of step 4
            raise KeyboardInterrupt
        return sample(*args, **kwargs)

    monkeypatch.setattr(loop, "sample_batch", killing)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(config, tmp_path / "killed", watching)
    monkeypatch.setattr(loop, "sample_batch", sample)
    train_and_evaluate(config, tmp_path / "killed", watching)
    files = [tmp_path / name / "metrics.jsonl" for name in ("watched", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()
