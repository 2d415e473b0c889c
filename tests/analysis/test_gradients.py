import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import choose, default_config, resolve
from smdsb_jax.analysis import gradients
from smdsb_jax.analysis.gradients import Setup
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.network import encode
from smdsb_jax.pretext import PRETEXT, View

BATCH, POINTS, CLASSES = 4, 32, 3
TINY = {
    "pointnet": {"input_tnet": True, "feature_tnet": False, "layers": (8, 8), "embedding": 64},
    "dgcnn": {"input_tnet": False, "layers": (8, 8), "k": 4, "embedding": 64},
}


@functools.cache
def built(task, encoder="pointnet"):
    config = default_config()
    choose(config, "encoder", encoder)
    config.encoder.update(TINY[encoder])
    choose(config, "pretext", task)
    for field, value in {"min_share": 2 / POINTS, "dropout": 0.0}.items():
        if field in config.pretext:
            config.pretext[field] = value
    config.classification.dropout = 0.0
    config.data.points, config.batch_size = POINTS, 2 * BATCH
    parts = build_parts(resolve(config), 1, CLASSES)
    state = init_state(parts, jax.random.key(0))
    # a step away from the start, where student and teacher, and running and batch statistics, are the same
    moved = jax.tree.map(lambda p: p + 0.03 * jnp.cos(jnp.arange(p.size).reshape(p.shape)), state.variables)
    return parts, moved, state.pretext


def clouds(seed=1):
    return jax.random.uniform(jax.random.key(seed), (BATCH, POINTS, 3), minval=-0.7, maxval=0.7)


def prepared(parts, points, seed=2):
    view = View(points, points, None, "target", jnp.ones(()))
    return parts.pretext.prepare(view, jax.random.key(seed))


def setup(task, train, encoder="pointnet"):
    return Setup(*built(task, encoder), train)


KEY = jax.random.key(2)
TASKS = [
    name for name in PRETEXT if name not in ("none", "defrec_radius")
]  # the latter: defrec, another region


def explicit(losses, encoder):
    """Each sample's gradient by a backward pass of its own."""
    stacked = jax.jit(jax.jacrev(losses))(encoder)
    own = [jax.tree.map(operator.itemgetter(i), stacked) for i in range(BATCH)]
    assert all(gradients.dot(s, s) > 1e-9 for s in own)
    return own


def distance(a, b):
    """Of two trees, relative to the first."""
    difference = jax.tree.map(jnp.subtract, a, b)
    return float(jnp.sqrt(gradients.dot(difference, difference) / gradients.dot(a, a)))


@pytest.mark.parametrize("train", [True, "constant", False], ids=str)
@pytest.mark.parametrize("encoder", TINY)
def test_forward_mode_gives_the_products_of_explicit_gradients(train, encoder):
    of = setup("defrec", train, encoder)
    losses = gradients.pretext_losses(of, prepared(of.parts, clouds()), KEY)
    of_class = gradients.class_losses(of, clouds(), jnp.arange(BATCH) % CLASSES, KEY)
    g = gradients.mean_gradient(of_class, of.encoder)
    other = jax.tree.map(jnp.cos, of.encoder)
    found = jax.jit(lambda e: gradients.inner_products(losses, e, gradients.stack(g, other)))(of.encoder)
    for row, direction in zip(found, (g, other), strict=True):
        expected = [gradients.dot(s, direction) for s in explicit(losses, of.encoder)]
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("task", TASKS)
def test_coupled_gradients_add_up_and_masking_a_sample_takes_its_own_away(task):
    of = setup(task, True)
    losses = gradients.pretext_losses(of, prepared(of.parts, clouds()), KEY)
    own = explicit(losses, of.encoder)
    batch = jax.jit(lambda e: gradients.mean_gradient(losses, e))(of.encoder)
    assert distance(batch, jax.tree.map(lambda *s: sum(s) / BATCH, *own)) < 1e-5
    keep = jnp.arange(BATCH) != 2
    masked = jax.jit(jax.grad(lambda e: jnp.sum(jnp.where(keep, losses(e), 0)) / BATCH))(of.encoder)
    assert distance(masked, jax.tree.map(lambda g, s: g - s / BATCH, batch, own[2])) < 1e-5


@pytest.mark.parametrize("task", TASKS)
def test_only_in_inference_mode_is_a_gradient_its_samples_own(task):
    first = prepared(built(task)[0], clouds())
    others = prepared(built(task)[0], clouds(9))
    mixed = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[1:]]), first, others)
    changes = {}
    for train in (True, False):
        of = setup(task, train)
        first_loss = lambda e, p, of=of: gradients.pretext_losses(of, p, KEY)(e)[0]  # noqa: E731
        gradient = jax.jit(jax.grad(first_loss))
        changes[train] = distance(gradient(of.encoder, first), gradient(of.encoder, mixed))
    assert changes[False] < 1e-5 < 1e-2 < changes[True]


@pytest.mark.parametrize("chunk", [1, 2, BATCH, 64])
@pytest.mark.parametrize("task", TASKS)
def test_products_and_norms_of_rows_are_those_of_explicit_gradients(task, chunk):
    of = setup(task, False)
    rows = prepared(of.parts, clouds())
    own = explicit(gradients.pretext_losses(of, rows, KEY), of.encoder)
    direction = jax.tree.map(jnp.cos, of.encoder)
    loss = gradients.loss_of_one(of, KEY)
    found = jax.jit(
        lambda e: gradients.products_and_norms(loss, e, rows, gradients.stack(direction, e), chunk)
    )(of.encoder)
    assert found.products.shape == (2, BATCH)
    expected = np.array([gradients.dot(s, direction) for s in own])
    np.testing.assert_allclose(found.products[0], expected, rtol=2e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(found.squared, [gradients.dot(s, s) for s in own], rtol=2e-3)


def test_a_batch_without_own_losses_is_refused():
    with pytest.raises(ValueError, match="inference mode only"):
        gradients.loss_of_one(setup("defrec", True), KEY)


def test_the_hosts_weight_is_in_the_losses():
    of = setup("defrec", False)
    rows = prepared(of.parts, clouds())
    heavy, light = (of._replace(parts=of.parts._replace(pretext_weight=w)) for w in (1.0, 0.25))
    a, b = (gradients.pretext_losses(s, rows, KEY)(s.encoder) for s in (heavy, light))
    np.testing.assert_allclose(a, 4 * b, rtol=1e-5)


@pytest.mark.parametrize("encoder", TINY)
def test_the_last_layer_is_the_one_before_the_embedding(encoder):
    parts, variables, _ = built("defrec", encoder)
    name = gradients.last_layer(parts.network, POINTS)
    assert name in variables["params"]["encoder"]
    own = {"encoder": variables["params"]["encoder"][name]}
    (kernel,) = [leaf for leaf in jax.tree.leaves(own) if leaf.ndim == 2]
    features, _ = encode(parts.network, variables, clouds(), KEY, train=False)
    assert kernel.shape[1] == features.embedding.shape[1]


def test_every_program_lowers_for_cuda():
    of = setup("defrec", True)
    rows = prepared(of.parts, clouds())
    g = gradients.stack(of.encoder, of.encoder)
    forward = jax.jit(lambda e: gradients.inner_products(gradients.pretext_losses(of, rows, KEY), e, g))
    alone = of._replace(train=False)
    backward = jax.jit(
        lambda e: gradients.products_and_norms(gradients.loss_of_one(alone, KEY), e, rows, g, 2)
    )
    for program in (forward, backward):
        assert program.trace(of.encoder).lower(lowering_platforms=("cuda",)).as_text()
