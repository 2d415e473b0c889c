import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import gradients, resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.gradients import Setup
from smdsb_jax.network import encode, predict
from smdsb_jax.pretext import View
from tests.tiers import cases
from tests.tiny_run import step_config, tiny_segmentation

BATCH, POINTS, CLASSES = 4, 32, 3
ENCODERS = {"pointnet": {"input_tnet": True}, "dgcnn": {"layers": (8, 8), "k": 4}}


@functools.cache
def built(task, encoder="pointnet"):
    config = step_config(encoder, task, encoder__embedding=64, batch_size=2 * BATCH)
    config.encoder.update(ENCODERS[encoder])
    for field, value in {"min_share": 2 / POINTS, "dropout": 0.0}.items():
        if field in config.pretext:
            config.pretext[field] = value
    config.classification.dropout = 0.0
    parts = build_parts(resolve(config), 1, CLASSES)
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    # a step away from the start, where student and teacher, and running and batch statistics, are the same
    away = lambda p: p + np.float32(0.03) * np.cos(np.arange(p.size, dtype=np.float32)).reshape(p.shape)  # noqa: E731
    return parts, jax.tree.map(away, state.variables), state.pretext


def clouds(seed=1):
    return jax.random.uniform(jax.random.key(seed), (BATCH, POINTS, 3), minval=-0.7, maxval=0.7)


@functools.cache
def prepared(task, seed=1, encoder="pointnet"):
    def prepare(points):
        view = View(points, points, None, "target", jnp.ones(()))
        return built(task, encoder)[0].pretext.prepare(view, jax.random.key(2))

    return jax.jit(prepare)(clouds(seed))


def setup(task, train, encoder="pointnet"):
    return Setup(*built(task, encoder), train)


KEY = jax.random.key(2)
# of each kind: one pass, several passes and losses, a teacher. Of every task, tests/pretext/test_pretext.py
# holds that a prepared sample's loss is its own.
TASKS = ("defrec", "gast", "self_distillation")


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


@functools.cache
def jacobian(task, train, encoder="pointnet"):
    """The compiled function from prepared samples to each one's gradient, by a backward pass of its own."""
    of = setup(task, train, encoder)
    by_encoder = jax.jacrev(lambda encoder, rows: gradients.pretext_losses(of, rows, KEY)(encoder))
    return jax.jit(functools.partial(by_encoder, of.encoder))


def own_gradients(task, train, rows, encoder="pointnet"):
    """[BATCH, parameters]."""
    stacked = jax.tree.leaves(jacobian(task, train, encoder)(rows))
    return np.concatenate([np.reshape(leaf, (BATCH, -1)) for leaf in stacked], axis=1).astype(np.float64)


@functools.cache
def explicit(task, train, encoder="pointnet"):
    """Each prepared sample's gradient, [BATCH, parameters]."""
    own = own_gradients(task, train, prepared(task, encoder=encoder), encoder)
    assert (np.square(own).sum(axis=1) > 1e-9).all()
    return own


def distance(a, b):
    """Of two vectors, relative to the first."""
    return np.linalg.norm(a - b) / np.linalg.norm(a)


@pytest.mark.parametrize("train", cases([True, "constant", False], True), ids=str)
@pytest.mark.parametrize("encoder", cases(ENCODERS, "dgcnn"))
def test_forward_mode_gives_the_products_of_explicit_gradients(train, encoder):
    of = setup("defrec", train, encoder)
    losses = gradients.pretext_losses(of, prepared("defrec", encoder=encoder), KEY)
    wave = lambda p: np.cos(np.arange(p.size, dtype=np.float32)).reshape(p.shape)  # noqa: E731
    directions = [jax.tree.map(turn, of.encoder) for turn in (wave, np.cos)]
    along = jax.jit(
        lambda encoder, *given: gradients.inner_products(losses, encoder, gradients.stack(*given))
    )
    found = along(of.encoder, *directions)
    assert found.shape == (2, BATCH)
    for row, direction in zip(found, directions, strict=True):
        expected = explicit("defrec", train, encoder) @ flat(direction)
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("task", cases(TASKS, "defrec"))
def test_coupled_gradients_add_up_and_masking_a_sample_takes_its_own_away(task):
    of, own = setup(task, True), explicit(task, True)
    losses = gradients.pretext_losses(of, prepared(task), KEY)
    weighted = jax.jit(jax.grad(lambda e, weights: jnp.sum(jnp.where(weights, losses(e), 0)) / BATCH))
    batch, masked = (flat(weighted(of.encoder, w)) for w in (np.ones(BATCH, bool), np.arange(BATCH) != 2))
    assert distance(batch, own.sum(axis=0) / BATCH) < 1e-5
    assert distance(masked, batch - own[2] / BATCH) < 1e-5


def test_the_mean_gradient_is_the_mean_of_the_samples():
    of = setup("defrec", True)
    losses = gradients.pretext_losses(of, prepared("defrec"), KEY)
    found = flat(jax.jit(lambda e: gradients.mean_gradient(losses, e))(of.encoder))
    assert distance(found, explicit("defrec", True).mean(axis=0)) < 1e-5


@pytest.mark.parametrize("task", cases(TASKS, "defrec"))
def test_only_in_inference_mode_is_a_gradient_its_samples_own(task):
    first, others = prepared(task), prepared(task, 9)
    mixed = jax.tree.map(lambda a, b: np.concatenate([a[:1], b[1:]]), *jax.device_get((first, others)))
    changes = {
        train: distance(*(own_gradients(task, train, rows)[0] for rows in (first, mixed)))
        for train in (True, False)
    }
    assert changes[False] < 1e-5 < 1e-2 < changes[True]


# how many at a time has nothing to do with the task
@pytest.mark.parametrize("task", cases(TASKS, "defrec"))
def test_products_and_norms_of_rows_are_those_of_explicit_gradients(task):
    chunks = (1, 2, BATCH, 64) if task == "defrec" else (2,)
    of, own = setup(task, False), explicit(task, False)
    rows, loss = prepared(task), gradients.loss_of_one(setup(task, False), KEY)
    direction = jax.tree.map(np.cos, of.encoder)
    expected = own @ flat(direction)
    for chunk in chunks:
        found = jax.jit(
            lambda e, chunk=chunk: gradients.products_and_norms(
                loss, e, rows, gradients.stack(direction, e), chunk
            )
        )(of.encoder)
        assert found.products.shape == (2, BATCH)
        np.testing.assert_allclose(found.products[0], expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(found.squared, np.square(own).sum(axis=1), rtol=2e-3)


def test_a_batch_without_own_losses_is_refused():
    with pytest.raises(ValueError, match="inference mode only"):
        gradients.loss_of_one(setup("defrec", True), KEY)


def test_the_hosts_weight_is_in_the_losses():
    of = setup("defrec", False)
    rows = prepared("defrec")
    heavy, light = (of._replace(parts=of.parts._replace(pretext_weight=w)) for w in (1.0, 0.25))
    a, b = jax.jit(lambda e: [gradients.pretext_losses(s, rows, KEY)(e) for s in (heavy, light)])(of.encoder)
    np.testing.assert_allclose(a, 4 * b, rtol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_last_layer_is_the_one_before_the_embedding(encoder):
    parts, variables, _ = built("defrec", encoder)
    name = gradients.last_layer(parts.network, POINTS)
    assert name in variables["params"]["encoder"]
    own = {"encoder": variables["params"]["encoder"][name]}
    (kernel,) = [leaf for leaf in jax.tree.leaves(own) if leaf.ndim == 2]
    features, _ = jax.eval_shape(lambda: encode(parts.network, variables, clouds(), KEY, train=False))
    assert kernel.shape[1] == features.embedding.shape[1]


def test_every_program_lowers_for_cuda():
    of = setup("defrec", True)
    rows = prepared("defrec")
    g = gradients.stack(of.encoder, of.encoder)
    forward = jax.jit(lambda e: gradients.inner_products(gradients.pretext_losses(of, rows, KEY), e, g))
    alone = of._replace(train=False)
    backward = jax.jit(
        lambda e: gradients.products_and_norms(gradients.loss_of_one(alone, KEY), e, rows, g, 2)
    )
    for program in (forward, backward):
        assert program.trace(of.encoder).lower(lowering_platforms=("cuda",)).as_text()


def test_class_losses_of_points_weigh_each_point_and_are_means_over_a_cloud():
    parts = build_parts(resolve(tiny_segmentation(classification__dropout=0.0)), 1, CLASSES)
    variables = jax.jit(functools.partial(init_state, parts))(jax.random.key(0)).variables
    of = Setup(parts, variables, (), False)
    label = jnp.arange(BATCH * POINTS).reshape(BATCH, POINTS) % CLASSES
    weight = (label % 2).astype(jnp.float32)
    found = jax.jit(gradients.class_losses(of, clouds(), label, KEY, weight))(of.encoder)
    logits, *_ = predict(parts.network, variables, clouds())
    of_points = -np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), label[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(found, (weight * of_points).mean(axis=1), rtol=1e-5)
