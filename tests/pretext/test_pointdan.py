import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.encoders import NodePointNet, PointNet
from smdsb_jax.layers.nodes import pool_at_nodes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.pointdan import discrepancy, pointdan
from smdsb_jax.state import Pair
from tests.pretext.fake_network import WIDTH, fake_passes, fake_variables, features_of

BATCH, POINTS = 4, 12
KEY = jax.random.key(0)
LABEL = jnp.arange(BATCH) % 3


def view(domain, progress=1.0, seed=1):
    points = jax.random.uniform(jax.random.key(seed), (BATCH, POINTS, 3), minval=-1)
    return View(points, points, LABEL, domain, jnp.asarray(progress))


def started(task, nodes=None):
    variables = fake_variables()
    shapes = jax.eval_shape(functools.partial(features_of, nodes=nodes), variables, view("source").points)
    own, state = task.init(jax.random.key(3), shapes, variables)
    assert state == ()
    return {kind: trees | {"pretext": own[kind]} for kind, trees in variables.items()}


TASK = pointdan(class_weight=0.5, nodes=5, members=3)
VARIABLES = started(TASK)


@jax.jit
def losses(params, prepared):
    variables = VARIABLES | {"params": params}
    return TASK.loss(fake_passes(), variables, (), prepared, KEY, train=False).per_sample


@jax.jit
def gradients(params, prepared):
    """Of the mean of the one loss that a domain has."""
    return jax.grad(lambda p: sum(jnp.mean(v) for v in losses(p, prepared).values()))(params)


def target(progress=1.0):
    return TASK.prepare(view("target", progress), KEY)


@pytest.mark.parametrize("encoder", [NodePointNet(), PointNet()], ids=["own nodes", "none"])
def test_numbers_of_parameters_are_the_published_ones(encoder):
    points = jax.ShapeDtypeStruct((2, 100, 3), jnp.float32)
    init = functools.partial(encoder.init_with_output, train=False)
    features, variables = jax.eval_shape(init, KEY, points)
    head = jax.eval_shape(
        functools.partial(encoder.head(10, 0.5).init, train=False), jax.random.key(0), features
    )
    given = {kind: {"head": head.get(kind, {})} for kind in ("params", "batch_stats")}
    own, _ = jax.eval_shape(lambda f, v: pointdan().init(KEY, f, v), features, given)
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    params = own["params"]
    assert size(params["source"]) == size(params["target"]) == 4_207_104
    assert size(params["second"]) == size(head["params"])
    if isinstance(encoder, NodePointNet):
        assert size(params["second"]) == 10_250
        total = size(variables["params"]) + size(head["params"]) + size(params)
        assert total == 11_261_533 - 4_288  # without the block that the release never uses


def test_the_discrepancy_of_a_sure_and_an_undecided_head():
    sure = jnp.zeros((1, 10)).at[0, 0].set(100.0)
    np.testing.assert_allclose(discrepancy(jnp.zeros((1, 10)), sure), [0.18], rtol=1e-6)
    np.testing.assert_array_equal(discrepancy(sure, sure), [0])


def test_the_source_has_a_cross_entropy_of_the_second_head_alone():
    source = TASK.prepare(view("source"), KEY)
    found = losses(VARIABLES["params"], source)
    assert found.keys() == {"second_class"}
    embedding = np.asarray(features_of(VARIABLES, source.points).embedding)
    logits = embedding @ np.asarray(VARIABLES["params"]["pretext"]["second"]["kernel"])
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(BATCH), LABEL]
    np.testing.assert_allclose(found["second_class"], 0.5 * expected, rtol=1e-5)
    gradient = gradients(VARIABLES["params"], source)
    assert (gradient["head"]["kernel"] == 0).all() and (gradient["encoder"]["first"] != 0).any()


def disagreement(params):
    """On the target, by numpy."""
    embedding = np.asarray(features_of({"params": params}, target().points).embedding)
    kernels = params["head"]["kernel"], params["pretext"]["second"]["kernel"]
    first, second = (np.exp(embedding @ np.asarray(k)) for k in kernels)
    return np.abs(first / first.sum(1, keepdims=True) - second / second.sum(1, keepdims=True)).mean(axis=1)


def test_on_the_target_heads_ascend_and_the_encoder_descends():
    params = VARIABLES["params"]
    found = losses(params, target())
    assert found.keys() == {"discrepancy"} and target().label is None
    before = disagreement(params)
    np.testing.assert_allclose(found["discrepancy"], before, rtol=1e-5)
    gradient = gradients(params, target())
    moved = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)
    heads = params | {"head": moved["head"], "pretext": moved["pretext"]}
    assert disagreement(heads).mean() > before.mean() + 1e-5
    assert disagreement(params | {"encoder": moved["encoder"]}).mean() < before.mean() - 1e-5


def test_the_encoder_follows_by_the_sine_of_the_progress():
    full, early, none = (gradients(VARIABLES["params"], target(t)) for t in (1.0, 1 / 200, 0.0))
    for name in ("first", "second"):
        np.testing.assert_allclose(
            early["encoder"][name], 0.0078539 * full["encoder"][name], rtol=1e-3, atol=1e-8
        )
        assert (none["encoder"][name] == 0).all()
    np.testing.assert_allclose(early["head"]["kernel"], full["head"]["kernel"], rtol=1e-6)


def with_attention(variables, **of_layers):
    """The variables with such layers in both attentions."""
    own = variables["params"]["pretext"]
    changed = {name: own[name] | of_layers for name in ("source", "target")}
    return variables | {"params": variables["params"] | {"pretext": own | changed}}


@functools.partial(jax.jit, static_argnums=(3, 4))
def joint(variables, prepared, keep, nodes=None, train=False):
    found, after = TASK.joint(fake_passes(nodes), variables, (), prepared, keep, KEY, train=train)
    return found["mmd"], after["batch_stats"]["pretext"]


def both(seed=2):
    return Pair(TASK.prepare(view("source"), KEY), TASK.prepare(view("target", seed=seed), KEY))


pool = jax.jit(lambda x, points: pool_at_nodes((x,), points, 5, 3)[0])
SIGMAS = (0.01, 0.1, 1.0, 10.0, 100.0)
ALL = Pair(*(jnp.ones(BATCH, bool),) * 2)
SOME = Pair(jnp.array([True, False, True, True]), jnp.array([True, True, False, False]))


@pytest.mark.parametrize("nodes", [None, 7], ids=["pooled", "own"])
@pytest.mark.parametrize("keep", [ALL, SOME], ids=["all", "some"])
def test_the_joint_loss_is_the_discrepancy_of_the_kept_clouds_nodes_under_attention(nodes, keep):
    variables = started(TASK, nodes)
    count = 5 if nodes is None else nodes
    halved = jnp.zeros((WIDTH * count // 8, WIDTH * count))
    # sigmoid(0): all features times 3/2; the norm takes out all but channel 4 of node 2
    chosen = jnp.zeros(WIDTH * count).at[4 * count + 2].set(1.0)
    norm = {"scale": chosen, "bias": jnp.zeros(WIDTH * count)}
    variables = with_attention(variables, up={"kernel": halved, "bias": jnp.zeros(WIDTH * count)}, norm=norm)
    prepared = both()
    found, _ = joint(variables, prepared, keep, nodes)
    sides = []
    for clouds, mask in zip(prepared, keep, strict=True):
        features = features_of(variables, clouds.points, nodes)
        of_nodes = features.nodes
        if nodes is None:
            of_nodes = pool(features.layers[1], clouds.points)
        sides.append(1.5 * np.asarray(of_nodes)[np.asarray(mask), 2, 4:5] / np.sqrt(1 + 1e-5))
    kernel = lambda x, y: sum(np.exp(-cdist(x, y, "sqeuclidean") / 2 / s**2) for s in SIGMAS).mean()  # noqa: E731
    source, target = sides
    expected = kernel(source, source) + kernel(target, target) - 2 * kernel(source, target)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_alike_domains_under_the_same_attention_are_not_apart():
    own = VARIABLES["params"]["pretext"]
    alike = VARIABLES["params"] | {"pretext": own | {"target": own["source"]}}
    found, _ = joint(VARIABLES | {"params": alike}, both(seed=1), ALL)
    np.testing.assert_allclose(found, 0, atol=1e-5)
    assert joint(VARIABLES, both(seed=1), ALL)[0] > 1e-3  # each domain has weights of its own
    none = Pair(jnp.zeros(BATCH, bool), jnp.ones(BATCH, bool))
    assert joint(VARIABLES, both(), none)[0] == 0


def test_degenerate_clouds_have_finite_joint_losses_and_gradients():
    coincident = jax.tree.map(jnp.zeros_like, both())

    def total(params):
        return joint(VARIABLES | {"params": params}, coincident, SOME, None, True)

    (value, statistics), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(VARIABLES["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, statistics, gradient)))
    assert (statistics["source"]["norm"]["var"] != 1).all()  # recorded


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mmd_weight": -1.0}, r"config\.pretext\.mmd_weight = -1\.0: between 0"),
        ({"class_weight": -1.0}, r"config\.pretext\.class_weight = -1\.0: between 0"),
        ({"sigmas": (1.0, 0.0)}, r"config\.pretext\.sigmas = 0\.0: between"),
        ({"sigmas": ()}, r"config\.pretext\.sigmas = \(\): one or more"),
        ({"nodes": 0}, r"config\.pretext\.nodes = 0: give at least 1"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        pointdan(**options)
