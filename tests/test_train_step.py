import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from smdsb_jax import choose, resolve
from smdsb_jax.augment import Augment, augment_batch
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.combine import COMBINE, Merged
from smdsb_jax.geometry.per_sample import DATA_AXIS
from smdsb_jax.network import predict
from smdsb_jax.pretext_pass import prepare_batch, pretext_losses
from smdsb_jax.saliency import saliency
from smdsb_jax.selection import select
from smdsb_jax.state import Batch, Clouds, Pair, TrainState
from smdsb_jax.tasks import cross_entropy
from smdsb_jax.train_step import Passed, class_loss, measure, train_step, weigh_labels, weights
from tests.step_by_hand import by_hand
from tests.tiers import cases, exhaustive
from tests.tiny_run import step_config

BATCH, POINTS, CLASSES = 8, 32, 3


def clouds(seed, label=True, batch=BATCH):
    points = jax.random.uniform(jax.random.key(seed), (batch, 40, 3), minval=-0.6, maxval=0.6)
    return Clouds(points, jnp.arange(batch) % CLASSES if label else None)


def batch_of(stage):
    target = clouds(2, label=stage == 2)
    return Batch(clouds(1), target._replace(weight=jnp.ones(BATCH)) if stage == 2 else target)


@functools.cache
def first_state(stage, encoder):
    parts = build_parts(resolve(step_config(encoder)), stage, CLASSES)
    return jax.jit(functools.partial(init_state, parts))(jax.random.key(0))


def started(stage=1, encoder="pointnet", **fields):
    """Parts and first state, which no field of the selection changes."""
    assert all(name.startswith("selection__") for name in fields)
    return build_parts(resolve(step_config(encoder, **fields)), stage, CLASSES), first_state(stage, encoder)


@functools.cache
def augmented_of(stage, encoder="pointnet"):
    """The batch as the first step's network gets it."""
    parts, state = started(stage, encoder)
    key = jax.random.split(jax.random.fold_in(state.key, state.step), 6)[0]
    return jax.jit(functools.partial(augment_batch, parts.augment))(key, batch_of(stage))


@functools.cache
def after_one_step(stage=1, encoder="pointnet", **fields):
    parts, state = started(stage, encoder, **fields)
    return jax.jit(functools.partial(train_step, parts))(state, batch_of(stage))


# Every way to step, with the (mean number of kept) source and target samples of 8 and 8.
WAYS = [
    (1, {}, (6, 8)),  # floor(0.7 * 8 + 1/2); targets have no labels yet
    (2, {}, 11),  # of the 16 of both domains
    (1, {"selection__execution": "gather", "selection__scope": "per_domain"}, (6, 8)),
    (
        2,
        {
            "selection__execution": "gather",
            "selection__scope": "per_domain",
            "selection__keep_ratio": 0.5,
            "selection__side": "high",
            "pretext__on_source": False,
        },
        (4, 4),
    ),
    (2, {"saliency__mode": "shared", "selection__target_shift": (0.0, 0.0)}, 11),
    (2, {"classification__mixup": "pcm", "selection__denominator": "kept"}, 11),
    (1, {"combine": "pcgrad", "selection__statistic": "none"}, (8, 8)),
    (2, {"task": "segmentation", "classification__mixup": "pcm"}, 11),
    (
        1,
        {
            "task": "segmentation",
            "saliency__mode": "shared",
            "selection__execution": "gather",
            "selection__scope": "per_domain",
        },
        (6, 8),
    ),
]


def exact(stage, encoder="pointnet", task="classification", combine="sum", **fields):
    """A step in float64, in the middle of a stage; its passes see the stored clouds and drop nothing out."""
    none = {"classification__dropout": 0.0, "pretext__dropout": 0.0}
    config = choose(choose(step_config(encoder, **(none | fields)), "task", task), "combine", combine)
    config = resolve(config)
    parts = build_parts(config, stage, CLASSES)._replace(
        augment=Augment(POINTS, "first", "none", 0.0, 0.0), optimizer=optax.sgd(1.0)
    )
    shapes = jax.eval_shape(functools.partial(init_state, parts), jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(leaf):  # scales, biases and running statistics above 0: a network that is not dead
        above = rng.uniform(0.3, 1.3, leaf.shape)
        return jnp.asarray(above if leaf.ndim == 1 else rng.normal(scale=0.5, size=leaf.shape))

    variables = jax.tree.map(draw, shapes.variables)
    params = variables["params"]
    opt_state = parts.optimizer.init(params)
    rule_state = parts.combine.init(params["encoder"], parts.tasks)
    state = TrainState(jnp.int32(3), jax.random.key(7), variables, opt_state, (), rule_state)
    points, label = rng.uniform(-0.6, 0.6, (2, BATCH, 40, 3)), rng.integers(0, CLASSES, (2, BATCH), np.int32)
    weight = np.array([1, 0, 1, 1, 0.5, 1, 1, 0.25])
    if parts.network.task.per_point:
        label = rng.integers(0, CLASSES, (2, BATCH, 40), np.int32)
        weight = rng.uniform(0, 1, (BATCH, 40)).round(1)
    pseudo = (label[1], weight) if stage == 2 else ()
    batch = Batch(Clouds(points[0], label[0]), Clouds(points[1], *pseudo))
    return config, parts, state, jax.tree.map(jnp.asarray, batch)


@pytest.mark.parametrize("way", cases(WAYS, WAYS[1], WAYS[3]), ids=str)
def test_every_way_to_step_is_the_written_out_one(way):
    stage, fields, expected = way
    with jax.enable_x64(True):
        config, parts, state, batch = exact(stage, **fields)
        losses, variables, kept = by_hand(config, parts, state, batch)
        new, metrics = jax.jit(functools.partial(train_step, parts))(state, batch)
        chex.assert_tree_all_finite((new.variables, losses))
        chex.assert_trees_all_close((metrics["loss/class"], metrics["loss/pretext"]), losses, rtol=1e-9)
        chex.assert_trees_all_close(new.variables, variables, rtol=1e-8, atol=1e-9)
        for part in ("encoder", "head", "pretext"):  # the comparison says something about each
            moved = jax.tree.map(
                lambda a, b: np.abs(a - b).max(),
                *(v["params"][part] for v in (new.variables, state.variables)),
            )
            assert max(jax.tree.leaves(moved)) > 1e-4
    numbers = tuple(len(kept[name]) for name in Batch._fields)
    assert numbers == expected if isinstance(expected, tuple) else sum(numbers) == expected
    assert numbers == (BATCH * metrics["selection/kept_source"], BATCH * metrics["selection/kept_target"])
    assert new.step == 4


def test_other_steps_do_not_compile_again_move_nothing_to_the_host_and_stay_finite_where_points_coincide():
    parts, state = started()
    parts = parts._replace(augment=parts.augment._replace(jitter_std=0.0, jitter_clip=0.0))
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(lambda *args: train_step(parts, *args), 1))
    batch = batch_of(1)
    second, _ = step(state, batch)
    with jax.transfer_guard("disallow"):
        step(second, batch)
    same = clouds(1)._replace(points=jnp.zeros((BATCH, 40, 3)))
    after, metrics = step(state, Batch(same, same._replace(label=None)))
    chex.assert_tree_all_finite((after.variables, metrics))
    assert metrics["selection/source/score"] == 0


@pytest.mark.parametrize("mode", ["per_sample", "shared"])
@pytest.mark.parametrize("needs, shape", [(False, None), (True, ())])
def test_a_statistic_sees_pretext_losses_if_it_needs_them(mode, needs, shape):
    parts, state = started(2)
    seen = []

    def score(sample):
        seen.append(sample.pretext_loss)
        return sample.loss

    selection = parts.selection._replace(score=score, needs_pretext=needs)
    asking = parts._replace(selection=selection, saliency_mode=mode)
    jax.eval_shape(functools.partial(train_step, asking), state, batch_of(2))
    assert [loss if loss is None else loss.shape for loss in seen] == [shape, shape]


@exhaustive
def test_gather_computes_what_mask_computes_where_batch_norm_does_not_look():
    # With a keep_ratio of 1 both run every sample: same losses, same update.
    masked, _ = after_one_step(selection__keep_ratio=1.0)
    fields = {"selection__scope": "per_domain", "selection__keep_ratio": 1.0}
    gathered, _ = after_one_step(selection__execution="gather", **fields)
    chex.assert_trees_all_close(masked.variables, gathered.variables, rtol=1e-4, atol=1e-6)


def inference_mode_batch_gradient(parts, variables, points, label):
    def summed(points):
        logits, _, _ = predict(parts.network, variables, points)
        return jnp.sum(cross_entropy(logits, label))

    return jax.grad(summed)(points)


@pytest.mark.parametrize("encoder", ["dgcnn", "pointnet"])
def test_both_saliency_modes_agree_with_running_statistics_no_dropout_and_a_summed_loss(encoder):
    parts, state = started(encoder=encoder)
    keys = jax.random.split(jax.random.key(9), len(jax.tree.leaves(state.variables["batch_stats"])))
    leaves, tree = jax.tree.flatten(state.variables["batch_stats"])
    moved = [leaf + 0.3 * jax.random.uniform(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)]
    variables = state.variables | {"batch_stats": jax.tree.unflatten(tree, moved)}  # not the initial ones
    augmented = augmented_of(1)

    @jax.jit
    def both(variables):
        nothing = Pair(None, None)
        per_sample, target = measure(parts, variables, jax.random.key(4), augmented, nothing, None)
        assert target is None
        points, label = augmented.source.points, augmented.source.label
        return per_sample, inference_mode_batch_gradient(parts, variables, points, label)

    per_sample, shared = both(variables)
    scale = float(np.abs(shared).max())
    np.testing.assert_allclose(per_sample.gradient, shared, rtol=1e-4, atol=1e-5 * scale)
    maps = jax.vmap(lambda p, g: saliency(p, g, 1.0))(augmented.source.points, shared)
    np.testing.assert_allclose(per_sample.saliency, maps, rtol=1e-3, atol=1e-5 * np.abs(maps).max())


def test_the_shared_gradient_is_that_of_the_summed_loss_of_the_class_pass():
    parts, state = started()
    augmented = augmented_of(1)
    args = (parts, jax.random.key(5), state.variables["params"], state.variables["batch_stats"])

    @jax.jit
    def both(points):
        of_points = jax.grad(class_loss, argnums=4, has_aux=True)
        gradient, (passed, _) = of_points(*args, Pair(points, None), augmented)
        found, _ = measure(parts, state.variables, jax.random.key(4), augmented, passed, gradient)
        summed = jax.grad(lambda p: jnp.sum(class_loss(*args, Pair(p, None), augmented)[1][0].source.loss))
        return found.gradient, summed(points)

    found, expected = both(augmented.source.points)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_the_shared_gradient_is_freed_of_the_weights_and_none_of_weight_0_is_kept():
    parts = build_parts(resolve(step_config(saliency__mode="shared")), 2, CLASSES)
    weight = jnp.array([1, 0, 0.5, 0.25, 1, 0, 1, 1])
    own = jax.random.normal(jax.random.key(0), (BATCH, POINTS, 3))  # gradient of each cloud's own loss
    from_others = 1e-3 * own[::-1]  # what BatchNorm brings, also to a cloud of weight 0
    mean = parts.class_weight / BATCH
    gradients = Pair(mean * own, mean * (weight[:, None, None] * own + from_others))
    augmented = jax.tree.map(lambda leaf: leaf[:, :POINTS] if leaf.ndim == 3 else leaf, batch_of(2))
    augmented = augmented._replace(target=augmented.target._replace(weight=weight))
    passed = Passed(jnp.ones(BATCH), jnp.ones((BATCH, CLASSES)), jnp.ones((BATCH, 4)))
    samples = measure(parts, {}, jax.random.key(1), augmented, Pair(passed, passed), gradients)
    source, target = samples
    chex.assert_trees_all_close(source.gradient, own, rtol=1e-5)
    weighted = np.flatnonzero(weight)
    chex.assert_trees_all_close(target.gradient[weighted], own[weighted], atol=0.02)
    (_, kept), _ = select(parts.selection, samples, BATCH, jax.random.key(2))
    assert not kept[weight == 0].any() and kept.any()


def test_the_measurer_changes_nothing_but_the_mask():
    # keep_ratio 1 keeps all: the same update as without any selection
    measured, _ = after_one_step(selection__keep_ratio=1.0)
    plain, _ = after_one_step(selection__statistic="none")
    chex.assert_trees_all_close(measured.variables, plain.variables, rtol=1e-5, atol=1e-7)


def test_stage_1_makes_no_target_class_pass_and_weights_of_pseudo_labels_weigh_it_in_stage_2():
    parts, state = started(2)
    augmented, first = augmented_of(2), augmented_of(1)
    args = (parts, jax.random.key(1), state.variables["params"], state.variables["batch_stats"])

    @jax.jit
    def losses(weights):
        def loss(weight):
            weighted = augmented._replace(target=augmented.target._replace(weight=jnp.full(BATCH, weight)))
            return class_loss(*args, Pair(augmented.source.points, augmented.target.points), weighted)[0]

        source_alone, (passed, _) = class_loss(*args, Pair(augmented.source.points, None), first)
        assert passed.target is None
        return [loss(w) for w in weights], source_alone

    weighted, source_alone = losses((0.0, 0.5, 1.0))
    none, half, full = map(float, weighted)
    assert half == pytest.approx((none + full) / 2, rel=1e-5) and none < full
    assert none == pytest.approx(float(source_alone), rel=1e-5)


def test_weights_of_labels_act_per_sample_or_by_their_mean():
    parts, _ = started(2)
    clouds = Clouds(jnp.zeros((2, POINTS, 3)), jnp.zeros(2, jnp.int32), jnp.array([1.0, 0.2]))
    loss = jnp.array([1.0, 3.0])
    assert float(
        jnp.mean(weights(weigh_labels(parts, Batch(clouds, clouds)).target) * loss)
    ) == pytest.approx((1 + 0.6) / 2)
    released = parts._replace(label_weights="batch_mean")
    weighed = weigh_labels(released, Batch(clouds, clouds)).target
    assert float(jnp.mean(weights(weighed) * loss)) == pytest.approx(2 * 0.6)
    np.testing.assert_array_equal(weights(clouds._replace(weight=None)), [1, 1])


def test_the_encoder_gradient_goes_through_the_rule_and_heads_keep_their_own():
    parts, state = started(selection__statistic="none")

    def record(key, gradients, told, rule_state):
        del key
        assert len(gradients) == 2 and told.tasks == ("class", "pretext")
        return Merged(jax.tree.map(jnp.zeros_like, gradients[0]), rule_state)

    frozen = parts._replace(combine=parts.combine._replace(update=record), optimizer=optax.sgd(1.0))
    state = state.replace(opt_state=frozen.optimizer.init(state.variables["params"]))
    new, _ = jax.jit(functools.partial(train_step, frozen))(state, batch_of(1))
    before, after = state.variables["params"], new.variables["params"]
    chex.assert_trees_all_equal(before["encoder"], after["encoder"])
    for part in ("head", "pretext"):
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before[part], after[part])
        assert max(jax.tree.leaves(moved)) > 0


# keeps the gradients as its state, and moves nothing
KEEP = optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda gradients, state, params=None: (jax.tree.map(jnp.zeros_like, gradients), gradients),
)


def test_the_sum_is_the_gradient_of_the_total_loss_and_another_rule_leaves_the_heads():
    parts, state = started(selection__statistic="none")
    parts = parts._replace(optimizer=KEEP)
    rule = COMBINE["gradnorm"](initial_steps=1)
    params, weights = state.variables["params"], jnp.array([0.5, 1.5])
    learned = {"weights": weights, "first": jnp.ones(2), "steps": jnp.full(2, 5, jnp.int32)}
    state = state.replace(opt_state=KEEP.init(params))
    batch, keys = batch_of(1), jax.random.split(jax.random.fold_in(state.key, state.step), 6)

    def total(params):
        augmented = augment_batch(parts.augment, keys[0], batch)
        points, everyone = Pair(augmented.source.points, None), jnp.ones(BATCH, bool)
        stats = state.variables["batch_stats"]
        loss, (_, stats) = class_loss(parts, keys[1], params, stats, points, augmented)
        whole = prepare_batch(
            parts, keys[4], state=state, stored=batch, augmented=augmented, keep=Pair(everyone, everyone)
        )
        losses, _ = pretext_losses(
            parts, whole.keys, params, batch_stats=stats, state=state, rows=whole.rows,
            divisors=whole.divisors,
        )  # fmt: skip
        return loss + sum(losses)

    @jax.jit
    def all_three(state):
        other = state.replace(combine=learned)
        steps = train_step(parts, state, batch), train_step(parts._replace(combine=rule), other, batch)
        return jax.grad(total)(params), *steps

    expected, (summed, plain), (weighed, metrics) = all_three(state)
    largest = float(optax.tree.norm(expected, ord=jnp.inf))
    chex.assert_trees_all_close(summed.opt_state, expected, rtol=1e-5, atol=1e-6 * largest)
    for part in ("head", "pretext"):
        chex.assert_trees_all_equal(summed.opt_state[part], weighed.opt_state[part])  # bit for bit
    names = ("weight/class", "weight/pretext", "ratio/pretext", "cosine/pretext")
    of_class, of_pretext, ratio, cosine = (float(metrics[f"combine/{name}"]) for name in names)
    assert (of_class, of_pretext) == (0.5, 1.5)
    assert "combine/weight/class" not in plain and float(plain["combine/cosine/pretext"]) == cosine
    norms = [float(optax.tree.norm(s.opt_state["encoder"])) for s in (summed, weighed)]
    sides = [(a**2 + (b * ratio) ** 2 + 2 * a * b * ratio * cosine) ** 0.5 for a, b in ((1, 1), (0.5, 1.5))]
    assert norms[1] / norms[0] == pytest.approx(sides[1] / sides[0], rel=1e-4)


def test_nothing_is_recorded_of_a_merge_without_a_pretext_task():
    config = choose(step_config(selection__statistic="none"), "pretext", "none")
    parts = build_parts(resolve(config), 1, CLASSES)
    state = jax.eval_shape(functools.partial(init_state, parts), jax.random.key(0))
    _, metrics = jax.eval_shape(functools.partial(train_step, parts), state, batch_of(1))
    assert "loss/class" in metrics and not [name for name in metrics if name.startswith("combine/")]


def test_the_step_lowers_for_accelerators_with_their_kernels():
    parts, state = started(2, "dgcnn")
    parts = parts._replace(augment=parts.augment._replace(subsample="fps"))
    traced = jax.jit(functools.partial(train_step, parts)).trace(state, batch_of(2))
    texts = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
        for platform in ("cpu", "cuda", "tpu")
    }
    for kernel in KERNELS:
        assert [p for p, text in texts.items() if f"{kernel}/batched" in text] == ["cuda", "tpu"], kernel


KERNELS = (
    "knn_search",
    "farthest_points",
    "chamfer_nearest",
    "max_over_neighbors",
    "add_to_winners",
    "sum_over_neighbors",
    "max_over_points",
    "to_points",
    "to_columns",
)


def test_four_devices_compute_what_one_does_and_divide_the_work():
    mesh = jax.make_mesh((4,), (DATA_AXIS,), axis_types=(AxisType.Auto,))
    divided = NamedSharding(mesh, PartitionSpec(DATA_AXIS))
    whole = NamedSharding(mesh, PartitionSpec())
    with jax.enable_x64(True):
        _, parts, state, batch = exact(2, "dgcnn", classification__dropout=0.5, pretext__dropout=0.5)
        step = jax.jit(functools.partial(train_step, parts))
        expected = jax.device_get(step(state, batch))
        with jax.set_mesh(mesh):
            args = (jax.device_put(state, whole), jax.device_put(batch, divided))
            compiled = step.lower(*args).compile()
            found = jax.device_get(compiled(*args))
    # sums over the batch are taken in another order
    chex.assert_trees_all_close(found[0].variables, expected[0].variables, rtol=1e-9, atol=1e-10)
    chex.assert_trees_all_close(found[1], expected[1], rtol=1e-9, atol=1e-10)
    text = compiled.as_text()
    # loops over the samples of a device, none over the whole batch; of its arrays only scores are gathered
    assert 'known_trip_count":{"n":"2"}' in text and f'known_trip_count":{{"n":"{BATCH}"}}' not in text
    gathered = re.findall(r"\w+\[([\d,]*)\]\S* all-gather", text)
    assert gathered and all(shape in (f"{BATCH}", f"{2 * BATCH}") for shape in gathered), gathered


def test_a_frozen_samples_unguarded_0_by_0_shows_in_the_norm_of_the_update(monkeypatch):
    parts, state = started()
    keep = jnp.arange(BATCH) < BATCH - 1
    monkeypatch.setattr("smdsb_jax.train_step.select", lambda *args: (Pair(keep, keep), {}))

    def unguarded(*args, train=True):
        found = parts.pretext.loss(*args, train=train)
        loss = found.per_sample["reconstruction"]
        loss = jnp.where(keep, loss, 0.0 * loss)
        return found._replace(per_sample={"share": loss**2 / loss})

    broken = parts._replace(pretext=parts.pretext._replace(loss=unguarded))
    _, metrics = jax.jit(functools.partial(train_step, broken))(state, batch_of(1))
    assert np.isfinite(metrics["loss/class"] + metrics["loss/pretext"]) and metrics["loss/pretext"] > 0
    assert not np.isfinite(metrics["update/norm"])  # the losses cannot tell
    _, metrics = after_one_step(selection__statistic="none")
    assert 0 < metrics["update/norm"] < np.inf
