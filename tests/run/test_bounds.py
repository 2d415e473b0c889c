import functools
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import resolve
from smdsb_jax.augment import augment_batch
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.configs import methods
from smdsb_jax.datasets.domain import UNLABELLED, Split
from smdsb_jax.network import passes_of, predict
from smdsb_jax.pretext import build_view, prepare
from smdsb_jax.run import bounds, loop
from smdsb_jax.run.bounds import build_scorer, draw_labelled, measure_batch, pool_gradient
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.state import Batch, Clouds, Pair
from smdsb_jax.train_step import step_keys, train_step
from tests.run.test_loop import assert_same_run, saved
from tests.shared import step_that_moves_all
from tests.tiers import cases, exhaustive
from tests.tiny_run import step_config, tiny_config

APART = {"selection__scope": "per_domain", "selection__freeze_unlabelled": True}


def a_step(bound="oracle_gain", **fields):
    config = resolve(step_config(selection__bound=bound, eval_every=10, **fields))
    parts = build_parts(config, 1, 3)
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    points = jax.random.uniform(jax.random.key(1), (4, 8, 40, 3), minval=-0.6, maxval=0.6)
    label = jnp.arange(8) % 3
    pool = Clouds(points[2:], jnp.stack([label, label]))
    return config, parts, state, Batch(Clouds(points[0], label), Clouds(points[1])), pool


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


def cosine(a, b):
    return a @ b / np.sqrt(a @ a * (b @ b))


def test_scores_are_those_of_written_out_gradients_of_the_views_of_the_step_and_the_highest_are_kept():
    config, parts, state, batch, pool = a_step(**APART)
    keys, variables = step_keys(state), state.variables

    def with_encoder(encoder):
        return variables | {"params": variables["params"] | {"encoder": encoder}}

    @jax.jit
    def of_class(encoder, points, label):
        output, *_ = predict(parts.network, with_encoder(encoder), points, keys[0], train=False)
        return jnp.mean(parts.network.task.loss(output, label))

    augmented = augment_batch(parts.augment, keys[0], batch)
    encoder = variables["params"]["encoder"]
    g_c = 0.8 * flat(jax.grad(of_class)(encoder, augmented.source.points, augmented.source.label))
    view_keys = [jax.random.split(key)[0] for key in jax.random.split(keys[5])]
    pools = [Clouds(*(leaf[i] for leaf in (pool.points, pool.label))) for i in range(2)]
    views = [
        augment_batch(parts.augment, *of).target
        for of in zip(view_keys, map(Batch, pools, pools), strict=True)
    ]
    g_o = np.mean([flat(jax.grad(of_class)(encoder, v.points, v.label)) for v in views], axis=0)

    def losses(encoder, domain, key):
        view = build_view(getattr(augmented, domain), getattr(batch, domain), domain, jnp.zeros(()))
        prepared, loss_key = prepare(parts.pretext, view, key)
        found = parts.pretext.loss(
            passes_of(parts.network), with_encoder(encoder), state.pretext, prepared,
            loss_key, train=False,
        )  # fmt: skip
        return parts.pretext_weight * sum(found.per_sample.values())

    of_pool = jax.jit(functools.partial(pool_gradient, parts, "target"))(keys[5], pool, state)
    np.testing.assert_allclose(flat(of_pool), g_o, rtol=1e-3, atol=1e-5)
    labelled = Split(np.asarray(pool.points[0]), np.asarray(pool.label[0]))
    found = build_scorer(config, parts, labelled, labelled).scores(of_pool, state, batch)
    for domain, key in zip(Batch._fields, jax.random.split(keys[4]), strict=True):
        rows = jax.jit(jax.jacobian(losses), static_argnums=1)(encoder, domain, key)
        rows = np.stack([flat(jax.tree.map(lambda a, i=i: a[i], rows)) for i in range(8)])
        gain = [cosine(g_c + s, g_o) - cosine(g_c, g_o) for s in rows]
        np.testing.assert_allclose(getattr(found, domain), gain, rtol=1e-3, atol=1e-5)
    assert np.ptp(found.source) > 1e-3  # there is something to rank

    step = jax.jit(functools.partial(train_step, parts))
    moved = [step(state, batch, scores)[0] for scores in (found, Pair(-found.source, found.target))]
    assert not np.array_equal(*(flat(of.variables["params"]) for of in moved))
    with pytest.raises(ValueError, match="'oracle_gain': give the step the scores of"):
        jax.eval_shape(functools.partial(train_step, parts), state, batch)


@pytest.mark.parametrize("bound, domain", [("oracle_dot_o", "target"), ("dot_c", "source")])
def test_a_kept_sample_with_a_high_product_lowers_the_loss_of_the_pool_as_the_step_takes_it(bound, domain):
    config, parts, state, batch, pool = a_step(bound, encoder__name="pointnet")
    keys, encoder = step_keys(state), state.variables["params"]["encoder"]

    def with_encoder(encoder):
        return state.variables | {"params": state.variables["params"] | {"encoder": encoder}}

    @jax.jit
    def loss_of_pool(encoder):  # of both its batches, each normalized by itself
        def of_batch(points, label, key):
            view_key, pass_key = jax.random.split(key)
            clouds = Clouds(points, label)
            view = getattr(augment_batch(parts.augment, view_key, Batch(clouds, clouds)), domain)
            output, *_ = predict(parts.network, with_encoder(encoder), view.points, pass_key, train=True)
            return jnp.mean(parts.network.task.loss(output, view.label))

        pairs = zip(pool.points, pool.label, jax.random.split(keys[5], 2), strict=True)
        return sum(of_batch(*pair) for pair in pairs) / 2

    augmented = augment_batch(parts.augment, keys[0], batch)
    view = build_view(augmented.source, batch.source, "source", jnp.zeros(()))
    prepared, loss_key = prepare(parts.pretext, view, jax.random.split(keys[4])[0])

    @jax.jit
    def losses(encoder):
        found = parts.pretext.loss(passes_of(parts.network), with_encoder(encoder), state.pretext,
                                   prepared, loss_key, train=True)  # fmt: skip
        return parts.pretext_weight * sum(found.per_sample.values())

    of_pool = jax.jit(functools.partial(pool_gradient, parts, domain))(keys[5], pool, state)
    np.testing.assert_allclose(flat(of_pool), flat(jax.grad(loss_of_pool)(encoder)), rtol=1e-3, atol=1e-5)
    labelled = Split(np.asarray(pool.points[0]), np.asarray(pool.label[0]))
    found = build_scorer(config, parts, labelled, labelled)
    scores = found.scores(of_pool, state, batch)
    rows = jax.jit(jax.jacrev(losses))(encoder)
    rows = np.stack([flat(jax.tree.map(lambda a, i=i: a[i], rows)) for i in range(8)])
    np.testing.assert_allclose(scores.source, rows @ flat(of_pool), rtol=1e-3, atol=1e-6)
    assert np.ptp(scores.source) > 1e-5 and scores.target is None
    # the gradient of all is the sum of these rows: what masking a sample takes from the step
    whole = flat(jax.jit(jax.grad(lambda encoder: jnp.sum(losses(encoder))))(encoder))
    np.testing.assert_allclose(rows.sum(axis=0), whole, rtol=1e-3, atol=1e-4)


def test_the_target_of_stage_1_is_scored_only_where_it_is_frozen():
    _, parts, state, batch, _ = a_step()
    of_pool = jax.tree.map(jnp.zeros_like, state.variables["params"]["encoder"])
    found = jax.eval_shape(functools.partial(measure_batch, parts), of_pool, state, batch)
    assert len(found.own) == 1 and found.own[0].products.shape == (2, 8)


def test_labelled_batches_are_apart_and_depend_on_the_draw_alone():
    label = np.where(np.arange(300) % 3 == 0, UNLABELLED, np.arange(300) % 7).astype(np.int32)
    split = Split(np.arange(900, dtype=np.float32).reshape(300, 1, 3), label)
    drawn = draw_labelled(split, (0, 4, 5), 2, 64)
    rows = drawn.points[..., 0, 0] / 3
    assert rows.shape == (2, 64) and len(np.unique(rows)) == 128 and (rows % 3 != 0).all()
    np.testing.assert_array_equal(drawn.label, label[rows.astype(int)])
    chex.assert_trees_all_equal(drawn, draw_labelled(split, (0, 4, 5), 2, 64))
    for other in ((1, 4, 5), (0, 4, 6)):
        assert not np.array_equal(draw_labelled(split, other, 2, 64).label, drawn.label)
    few = Split(split.points[:20], label[:20])
    assert draw_labelled(few, (0, 4, 5), 2, 64).label.shape == (2, 4)  # of 13, for 4 devices
    assert draw_labelled(split, (0, 5, 0), 16, 32).label.shape == (6, 32)  # as many as there are
    with pytest.raises(
        ValueError, match=r"under true labels .* and 3 of the domain's training .*bound"
    ) as error:
        draw_labelled(Split(split.points[3:8], label[3:8]), (0, 4, 5), 2, 64)
    assert "\n" not in str(error.value)


def permuted(domains):
    source, target = domains
    order = np.random.default_rng(0).permutation(len(target.train.label))
    return source, target._replace(train=target.train._replace(label=target.train.label[order]))


def labels_and_state(parts, of_pool, state, batch):
    """Compiles at once, in place of `measure_batch`: moves with all that it is given."""
    value = sum(jnp.sum(leaf.astype(float)) for leaf in jax.tree.leaves((of_pool, state.variables, batch)))
    clouds = [*batch] if batch.target.label is not None else [batch.source]
    own = [bounds.gradients.Products(jax.random.normal(state.key, (2, len(c.points))) * value,
                                        jnp.ones(len(c.points))) for c in clouds]  # fmt: skip
    return bounds.Found(own, jnp.eye(2))


def pool_and_state(parts, domain, key, pool, state):
    value = jnp.sum(pool.label) + jnp.sum(pool.points) + state.step
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, value), state.variables["params"]["encoder"])


def step_by_scores(parts, state, batch, scores=None):
    state, metrics = step_that_moves_all(parts, state, batch)
    if scores is None:
        return state, metrics
    moved = jax.tree.map(lambda p: p + 1e-3 * jnp.mean(scores.source), state.variables["params"])
    return state.replace(variables=state.variables | {"params": moved}), metrics


READS = {"skewness": False, "cos_c": False, "dot_c": False, "oracle_gain": True, "oracle_dot_o": True}


@pytest.mark.parametrize("selection", cases(READS, "skewness", "dot_c", "oracle_gain"))
def test_labels_of_the_target_are_read_by_the_oracle_alone(selection, tmp_path, monkeypatch, capsys):
    reads = READS[selection]
    monkeypatch.setattr(loop, "train_step", step_by_scores)
    monkeypatch.setattr(bounds, "measure_batch", labels_and_state)
    monkeypatch.setattr(bounds, "pool_gradient", pool_and_state)
    config = tiny_config(stage1__steps=12, stage2__steps=12, eval_every=10, stages=(1,) if reads else (1, 2))
    config.selection.update(methods.PRESETS.get(selection, {}))
    train_and_evaluate(config, tmp_path / "true")
    assert ("reads the target's labels" in capsys.readouterr().out) == reads
    load = loop.load_domains
    monkeypatch.setattr(loop, "load_domains", lambda config: permuted(load(config)))
    train_and_evaluate(config, tmp_path / "permuted")
    if not reads:
        assert_same_run(tmp_path / "true", tmp_path / "permuted")
        return
    arrays = [flat(saved(tmp_path / name)[0].variables["params"]) for name in ("true", "permuted")]
    assert not np.array_equal(*arrays)


@exhaustive
def test_a_run_with_an_oracle_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_by_scores)
    monkeypatch.setattr(bounds, "measure_batch", labels_and_state)
    monkeypatch.setattr(bounds, "pool_gradient", pool_and_state)
    config = tiny_config(stage1__steps=24, eval_every=20, stages=(1,))
    config.selection.update(methods.PRESETS["oracle_gain"])
    train_and_evaluate(config, tmp_path / "whole")
    sample = loop.sample_batch

    def stopping(*args, **kwargs):
        if kwargs["step"] == 3:  # a signal: the run stops where the pool is drawn anew
            signal.raise_signal(signal.SIGTERM)
        return sample(*args, **kwargs)

    monkeypatch.setattr(loop, "sample_batch", stopping)
    assert not train_and_evaluate(config, tmp_path / "stopped").finished
    assert saved(tmp_path / "stopped")[2].step == 10
    assert train_and_evaluate(config, tmp_path / "stopped").finished
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("fields, message", [
    ({"selection__statistic": "none"}, "bound ranks what is selected: set config.selection.statistic"),
    ({"eval_every": 15}, "config.eval_every = 15: oracle_gain keeps its pool for 10 steps"),
    ({"pretext__on_source": False}, "bound = 'oracle_gain' needs pretext losses of single samples: set"),
    ({"selection__bound": "loss"}, "config.selection.bound = 'loss': one of '', 'cos_c', 'dot_c', 'oracle"),
])  # fmt: skip
def test_what_cannot_be_a_bound_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        resolve(tiny_config(**{"selection__bound": "oracle_gain", "eval_every": 10} | fields))
