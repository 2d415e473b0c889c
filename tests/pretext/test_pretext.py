"""What holds for every pretext task, and that the interface carries what later ones need."""

import functools
import operator

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smdsb_jax import resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.combine import SPLITS, Combine, Merged
from smdsb_jax.network import passes_of, run
from smdsb_jax.pretext import PRETEXT, Losses, Pretext, View, prepare
from smdsb_jax.pretext_pass import prepare_batch, pretext_losses
from smdsb_jax.state import Batch, Clouds, Pair
from smdsb_jax.train_step import train_step
from tests.tiers import cases
from tests.tiny_run import step_config

BATCH, POINTS = 4, 48


def tiny(pretext="defrec", **fields):
    """The saliency comes from the class pass: one pass less to compile, and masks all the same."""
    fields = {"saliency__mode": "shared"} | fields
    return step_config(pretext=pretext, data__points=POINTS, batch_size=2 * BATCH, **fields)


def clouds(seed, label=True):
    points = jax.random.uniform(jax.random.key(seed), (BATCH, 64, 3), minval=-0.6, maxval=0.6)
    return Clouds(points, jnp.arange(BATCH) % 3 if label else None)


def with_task(task, **sections):
    parts = build_parts(resolve(tiny(**sections)), 1, 3)._replace(pretext=task)
    return parts, jax.jit(functools.partial(init_state, parts))(jax.random.key(0))


@functools.cache
def of_entry(name):
    parts = build_parts(resolve(tiny(name)), 1, 3)
    return parts, jax.jit(functools.partial(init_state, parts))(jax.random.key(0))


@pytest.mark.parametrize("name", cases(PRETEXT, "pointdan"))
def test_every_task_gives_a_finite_loss_per_sample_and_steps(name):
    parts, state = of_entry(name)
    half = clouds(1)
    view = View(half.points[:, :POINTS], half.points, half.label, "source", jnp.zeros(()))
    prepared, key = jax.jit(lambda: prepare(parts.pretext, view, jax.random.key(2)))()
    assert all(leaf.shape[0] == BATCH for leaf in jax.tree.leaves(prepared))
    losses = {}
    if parts.pretext.loss is not None:
        of_task = functools.partial(parts.pretext.loss, passes_of(parts.network))
        losses = jax.eval_shape(of_task, state.variables, state.pretext, prepared, key).per_sample
    assert set(losses) <= set(parts.pretext.names)
    assert all(loss.shape == (BATCH,) for loss in losses.values())  # the step's metrics have their values
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(lambda *args: train_step(parts, *args), 1))
    for seed in (1, 3):
        batch = Batch(clouds(seed), clouds(seed + 1, label=False))
        state, metrics = step(state, batch)
    chex.assert_tree_all_finite((metrics, state.variables))


OF_SAMPLES = [name for name in PRETEXT if PRETEXT[name]().loss is not None]


@pytest.mark.parametrize("name", cases(OF_SAMPLES, "defrec", "mlsp"))
def test_in_inference_mode_a_prepared_samples_loss_is_its_own(name):
    parts, state = of_entry(name)
    half, task = clouds(1), parts.pretext
    view = View(half.points[:, :POINTS], half.points, half.label, "source", jnp.ones(()))
    prepared, key = jax.jit(lambda: prepare(task, view, jax.random.key(2)))()
    prepared = jax.device_get(prepared)

    @jax.jit
    def losses(prepared):
        of_task = functools.partial(task.loss, passes_of(parts.network))
        found = of_task(state.variables, state.pretext, prepared, key, train=False)
        return found.per_sample, found.variables

    together, after = losses(prepared)
    chex.assert_trees_all_equal(after, state.variables)
    assert together
    for i in range(BATCH):
        alone, _ = losses(jax.tree.map(operator.itemgetter(slice(i, i + 1)), prepared))
        for loss, values in together.items():
            np.testing.assert_allclose(alone[loss][0], values[i], rtol=2e-4)


def degenerate():
    """Clouds of coincident points, one of two points in each cell of the grid at most, and a usual one."""
    cells = jnp.stack(jnp.meshgrid(*3 * [jnp.array([-2 / 3, 0, 2 / 3])]), axis=-1).reshape(27, 3)
    spread = jnp.resize(cells, (POINTS, 3))
    usual = clouds(1).points[0, :POINTS]
    return jnp.stack([0 * usual, jnp.full_like(usual, 0.3), spread, usual])


@pytest.mark.parametrize("name", cases(OF_SAMPLES, "defrec", "mlsp"))
def test_degenerate_clouds_have_finite_losses_and_gradients(name):
    parts, state = of_entry(name)

    def total(params, points):
        view = View(points, points, jnp.zeros(BATCH, jnp.int32), "source", jnp.ones(()))
        prepared, key = prepare(parts.pretext, view, jax.random.key(2))
        args = (state.variables | {"params": params}, state.pretext, prepared, key)
        losses = parts.pretext.loss(passes_of(parts.network), *args).per_sample
        return sum(map(jnp.sum, losses.values()), jnp.zeros(())), losses

    gradient = jax.jit(jax.value_and_grad(total, has_aux=True))
    # of the batch without any spread no variance is left to normalize by
    for points in (jnp.zeros((BATCH, POINTS, 3)), degenerate()):
        (_, losses), gradients = gradient(state.variables["params"], points)
        chex.assert_tree_all_finite((losses, gradients))
    for of_region in losses.keys() & {"reconstruction", "distortion"}:
        assert losses[of_region][2] == 0 and (losses[of_region][jnp.array([0, 1, 3])] > 0).all()


class Angle(nn.Module):
    @nn.compact
    def __call__(self, features, *, train):
        del train
        return nn.Dense(4)(features.embedding), nn.Dense(3)(features.per_point)


def everything():
    """Two losses, stored clouds, a second pass, an EMA teacher, own labels, per-point features."""
    head = Angle()

    def init(key, features, variables):
        return dict(head.lazy_init(key, features, train=False)) | {"batch_stats": {}}, {
            "teacher": jax.tree.map(lambda v: v[None][0], {k: v["encoder"] for k, v in variables.items()}),
            "updates": jnp.zeros((), jnp.int32),
        }

    def prepare(view, key):
        batch = len(view.points)
        label = jax.random.randint(jax.random.split(key, 4)[0], (batch,), 0, 4)
        turned = jnp.where(label[:, None, None] > 1, -view.points, view.points)
        return label, turned, view.stored[:, :POINTS], view.points, jnp.full(batch, view.progress)

    def loss(passes, variables, state, prepared, key, *, train=True):
        label, turned, stored, points, progress = prepared
        keys = jax.random.split(key, 4)
        features, variables = passes.encode(variables, turned, keys[1], train=train)
        again, variables = passes.encode(variables, stored, keys[2], train=train)
        teacher = {kind: {"encoder": tree} for kind, tree in state["teacher"].items()}
        target, unchanged = passes.encode(teacher, points, keys[3], train=False)
        assert unchanged is teacher
        (logits, offsets), variables = run(head, variables, "pretext", features, train=train)
        angle = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        distill = jnp.mean((again.embedding - jax.lax.stop_gradient(target.embedding)) ** 2, axis=-1)
        both = {"angle": angle + 0 * jnp.mean(offsets, axis=(1, 2)), "distill": progress * distill}
        return Losses(both, variables, {"angle": (jnp.argmax(logits, axis=-1) == label).astype(float)})

    def update(state, variables):
        updates = state["updates"] + 1
        decay = jnp.minimum(1 - 1 / (updates + 1), 0.999)
        student = {kind: tree["encoder"] for kind, tree in variables.items()}
        teacher = jax.tree.map(lambda t, s: decay * t + (1 - decay) * s, state["teacher"], student)
        return {"teacher": teacher, "updates": updates}

    return Pretext(init, prepare, loss, ("angle", "distill"), update)


def test_the_interface_carries_what_later_tasks_need():
    parts, state = with_task(everything())
    step = jax.jit(functools.partial(train_step, parts))
    batch = Batch(clouds(1), clouds(2, label=False))
    first, metrics = step(state, batch)
    assert {"pretext/source/angle", "pretext/target/distill"} <= metrics.keys()
    assert metrics["pretext/source/distill"] == 0  # progress is 0 at the first step
    expected = jax.tree.map(
        lambda t, s: 0.5 * t + 0.5 * s,
        state.pretext["teacher"],
        {kind: tree["encoder"] for kind, tree in first.variables.items()},
    )
    chex.assert_trees_all_close(first.pretext["teacher"], expected, rtol=1e-6)
    second, metrics = step(first, batch)
    assert second.pretext["updates"] == 2 and metrics["pretext/source/distill"] > 0


def with_joint(task):
    """The task with a distance of the domains' mean embeddings and outputs, weighed by the masks."""

    def joint(passes, variables, state, prepared, keep, key, *, train=True):
        del state
        keys = jax.random.split(key)
        means = []
        for clouds, mask, k in zip(prepared, keep, keys, strict=True):
            features, variables = passes.encode(variables, clouds[3], k, train=train)
            output, variables = passes.head(variables, features, k, train=train)
            weight = mask / jnp.sum(mask)
            means.append(weight @ jnp.concatenate([features.embedding, output], axis=1))
        return {"mean": jnp.sum((means[0] - means[1]) ** 2), "kept": 1.0 * jnp.sum(keep.source)}, variables

    return task._replace(names=(*task.names, "mean", "kept"), joint=joint)


@pytest.mark.parametrize("split", cases(SPLITS, "loss"))
def test_a_joint_loss_and_a_rule_that_weighs_heads_and_reports(split):
    parts, state = with_task(with_joint(everything()))
    seen = []

    def update(key, gradients, told, rule_state):
        del key
        seen.append(told.tasks)
        total = jax.tree.map(lambda *leaves: sum(leaves), *gradients)
        weights = jnp.ones(len(gradients)).at[0].set(0.0)  # no classification gradient for heads
        metrics = {f"loss/{i}": loss for i, loss in enumerate(told.losses)} | {"solved": told.solved[0]}
        return Merged(total, rule_state + 1, weights, metrics)

    rule = Combine(init=lambda params, tasks: jnp.zeros(()), update=update)
    parts = parts._replace(combine=rule, combine_split=split, optimizer=optax.sgd(1.0))
    parts = parts._replace(pretext_weight=0.5)
    state = state.replace(combine=jnp.zeros(()), opt_state=parts.optimizer.init(state.variables["params"]))
    new, metrics = jax.jit(functools.partial(train_step, parts))(
        state, Batch(clouds(1), clouds(2, label=False))
    )
    assert seen[0] == parts.tasks and {len(parts.tasks)} == {{"task": 2, "domain": 4, "loss": 5}[split]}
    assert new.combine == 1 and 0 <= metrics["combine/solved"] <= 1
    assert metrics["pretext/joint/kept"] == 3  # of 4 at 0.7: the masks reach it
    losses = [float(metrics[f"combine/loss/{i}"]) for i in range(len(parts.tasks))]
    assert losses[0] == pytest.approx(float(metrics["loss/class"]))
    named = sum(float(v) for name, v in metrics.items() if name.startswith("pretext/"))
    assert sum(losses[1:]) == pytest.approx(0.5 * named) == pytest.approx(float(metrics["loss/pretext"]))
    moved = {
        part: max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        for part, pair in ((p, (new.variables["params"][p], state.variables["params"][p])) for p in PARTS)
    }
    assert all(moved[part] > 0 for part in PARTS)  # the joint loss reaches the head, too


PARTS = ("encoder", "head", "pretext")


def test_per_sample_losses_average_to_the_steps_loss_with_the_given_weights():
    parts, state = with_task(
        PRETEXT["defrec"](min_share=3 / POINTS), selection__statistic="none", pretext__weight=0.2
    )
    batch = Batch(clouds(1), clouds(2, label=False))
    keep = Pair(*(jnp.ones(BATCH, bool),) * 2)
    augmented = Batch(*(c._replace(points=c.points[:, :POINTS]) for c in batch))

    @jax.jit
    def of_batch():
        rows, divisors, loss_keys = prepare_batch(
            parts, jax.random.key(5), state=state, stored=batch, augmented=augmented, keep=keep
        )
        params, batch_stats = state.variables["params"], state.variables["batch_stats"]
        return pretext_losses(
            parts, loss_keys, params, batch_stats=batch_stats, state=state, rows=rows, divisors=divisors
        )

    (total,), record = of_batch()

    @jax.jit
    def one_by_one():
        keys, variables, losses = jax.random.split(jax.random.key(5)), state.variables, []
        for half, key, domain in zip(augmented, keys, Batch._fields, strict=True):
            view = View(half.points, half.points, half.label, domain, jnp.zeros(()))
            prepared, key = prepare(parts.pretext, view, key)
            found = parts.pretext.loss(passes_of(parts.network), variables, (), prepared, key)
            variables = found.variables
            losses.append(found.per_sample["reconstruction"])
        return losses

    expected = 0.2 * sum(float(np.mean(losses)) for losses in one_by_one())
    assert total == pytest.approx(expected, rel=1e-5)
    assert total == pytest.approx(0.2 * sum(map(float, record.named.values())), rel=1e-5)
