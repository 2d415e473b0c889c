import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from smdsb_jax.pretext import View
from smdsb_jax.pretext.memory import NOBODY
from smdsb_jax.pretext.pcfea import margin_moments, pcfea, prototype_loss
from tests.pretext.fake_network import CLASSES, WIDTH, fake_passes, fake_variables, features_of

BATCH, POINTS, MEMORY = 4, 12, 30
KEY = jax.random.key(0)
LABEL = np.array([0, 1, 2, 1])
OPTIONS = {"strength": 0.5, "temperature": 0.7, "style_weight": 2.0, "prototype_weight": 3.0}
RNG = np.random.default_rng(0)
POOL_OF = {  # what each domain's memory holds
    domain: {
        "embedding": RNG.normal(0.3 * i, 1, (MEMORY, WIDTH)).astype(np.float32),
        "label": RNG.integers(NOBODY, CLASSES, MEMORY).astype(np.int32),
        "confidence": RNG.uniform(0.3, 1, MEMORY).astype(np.float32),
    }
    for i, domain in enumerate(("source", "target"))
}
VARIABLES = fake_variables(2)  # whose predictions differ
KERNEL = np.asarray(VARIABLES["params"]["head"]["kernel"])


def holding(memory):
    own = {"params": {}, "batch_stats": memory}
    return {kind: trees | {"pretext": own[kind]} for kind, trees in VARIABLES.items()}


def prepared(domain, progress):
    points = jax.random.uniform(jax.random.key(1), (BATCH, POINTS, 3), minval=-1)
    label = jnp.asarray(LABEL) if domain == "source" else None
    return task().prepare(View(points, points, label, domain, jnp.asarray(progress)), KEY)


@functools.cache
def task():
    return pcfea(**OPTIONS, memory=MEMORY)


@functools.cache
def compiled(domain, train):
    def total(params, memory, given):
        variables = holding(memory) | {"params": VARIABLES["params"] | {"pretext": {}} | params}
        found = task().loss(fake_passes(), variables, (), given, KEY, train=train)
        return sum(map(jnp.sum, found.per_sample.values())), found

    return jax.jit(jax.grad(total, has_aux=True))


def losses(domain, progress=0.55, memory=None, train=True):
    """What the task finds, its gradients, and the clouds' embeddings."""
    given = prepared(domain, progress)
    gradient, found = compiled(domain, train)(VARIABLES["params"], memory or POOL_OF, given)
    embedding = np.asarray(features_of(VARIABLES, given.points).embedding)
    return found, jax.tree.leaves(gradient), embedding


def members(memory, share, c):
    """The embeddings of the surest of a class, by a loop."""
    rows = np.flatnonzero(memory["label"] == c)
    rows = rows[np.argsort(-memory["confidence"][rows])][: int(share * len(rows))]
    return memory["embedding"][rows]


def pool_of(c, a=0.5):
    return np.concatenate([members(POOL_OF["source"], 1 - a, c), members(POOL_OF["target"], a, c)])


def plain_prototype(embedding, label):
    means = np.stack([pool_of(c).mean(axis=0) for c in range(CLASSES)])
    lengths = np.linalg.norm(embedding, axis=1)[:, None] * np.linalg.norm(means, axis=1)
    logits = embedding @ means.T / lengths / OPTIONS["temperature"]
    return -log_softmax(logits, axis=1)[np.arange(BATCH), label]


def test_the_sources_losses_are_those_of_explicit_means_and_covariances():
    found, _, embedding = losses("source")  # halfway after a warm-up of 0.1: half of each
    logits = embedding @ KERNEL
    expected = []
    for z, y in zip(logits, LABEL, strict=True):
        pool = pool_of(y)
        shift = pool.mean(axis=0) - members(POOL_OF["source"], 1.0, y).mean(axis=0)
        w = (KERNEL - KERNEL[:, [y]]).T
        variance = np.diag(w @ np.cov(pool.T, ddof=0) @ w.T)
        styled = z + w @ shift + OPTIONS["strength"] * 0.55 * variance / 2
        expected.append(log_softmax(z)[y] - log_softmax(styled)[y])
    np.testing.assert_allclose(found.per_sample["style"], 2 * np.array(expected), rtol=1e-4)
    np.testing.assert_allclose(
        found.per_sample["prototype"], 3 * plain_prototype(embedding, LABEL), rtol=1e-4
    )


def test_the_target_has_the_prototypes_of_its_predictions():
    found, _, embedding = losses("target")
    said = np.argmax(embedding @ KERNEL, axis=1)
    assert set(found.per_sample) == {"prototype"} and len(set(said)) > 1
    np.testing.assert_allclose(found.per_sample["prototype"], 3 * plain_prototype(embedding, said), rtol=1e-4)


@pytest.mark.parametrize("domain", ["source", "target"])
def test_the_warm_up_only_fills_the_memory(domain):
    found, gradients, embedding = losses(domain, progress=0.09)
    assert all((loss == 0).all() for loss in found.per_sample.values())
    assert all((g == 0).all() for g in gradients)
    memory, label = found.variables["batch_stats"]["pretext"], np.argmax(embedding @ KERNEL, axis=1)
    other = {"source": "target", "target": "source"}[domain]
    np.testing.assert_array_equal(memory[other]["label"], POOL_OF[other]["label"])
    np.testing.assert_allclose(memory[domain]["embedding"][:BATCH], embedding, rtol=1e-5)
    np.testing.assert_array_equal(memory[domain]["embedding"][BATCH:], POOL_OF[domain]["embedding"][:-BATCH])
    np.testing.assert_array_equal(memory[domain]["label"][:BATCH], LABEL if domain == "source" else label)
    np.testing.assert_allclose(
        memory[domain]["confidence"][:BATCH], softmax(embedding @ KERNEL, axis=1).max(axis=1), rtol=1e-5
    )


def test_after_it_all_parameters_learn_and_inference_leaves_the_memory():
    _, gradients, _ = losses("source")
    assert all(np.isfinite(g).all() and (g != 0).any() for g in gradients)
    found, _, _ = losses("source", train=False)
    jax.tree.map(np.testing.assert_array_equal, found.variables["batch_stats"]["pretext"], POOL_OF)


def test_a_class_that_the_pool_lacks_has_no_loss_and_an_empty_memory_none_at_all():
    known = POOL_OF["source"]["label"]
    without = {**POOL_OF["source"], "label": np.where(known == 1, NOBODY, known)}
    at_first = losses("source", progress=0.1)[0].per_sample["style"]
    assert (at_first >= -1e-5).all() and at_first.max() > 0.01  # the pool is the source: no shift yet
    found, gradients, _ = losses("source", progress=0.1, memory=POOL_OF | {"source": without})
    for loss in found.per_sample.values():
        assert (loss[jnp.array([1, 3])] == 0).all() and (loss[jnp.array([0, 2])] != 0).all()
    assert all(np.isfinite(g).all() for g in gradients)
    empty = jax.tree.map(np.zeros_like, POOL_OF)
    for half in empty.values():
        half["label"] += NOBODY
    found, gradients, _ = losses("source", progress=1.0, memory=empty)
    assert all((loss == 0).all() for loss in found.per_sample.values())
    assert all((g == 0).all() for g in gradients)


def test_the_styled_cross_entropy_bounds_that_of_drawn_features():
    stored, label = POOL_OF["target"]["embedding"], np.arange(MEMORY) % CLASSES
    member = np.eye(CLASSES, dtype=np.float32)[label]
    shift, variance = margin_moments(*map(jnp.asarray, (stored @ KERNEL, label, member, member)))
    np.testing.assert_allclose(shift, 0, atol=1e-5)
    np.testing.assert_allclose(np.diag(variance), 0, atol=1e-5)
    of_class = stored[label == 2]
    feature, covariance = np.zeros(WIDTH), np.cov(of_class.T, ddof=0)
    drawn = RNG.multivariate_normal(feature, 0.2 * covariance, 20_000) @ KERNEL
    bound = -log_softmax(feature @ KERNEL + 0.1 * np.asarray(variance)[2])[2]
    mean, plain = -log_softmax(drawn, axis=1)[:, 2].mean(), -log_softmax(feature @ KERNEL)[2]
    assert plain < mean < bound


def test_the_prototype_loss_of_one_cosine():
    embedding, stored = jnp.array([[2.0, 0.0]]), jnp.array([[3.0, 0.0], [0.0, 5.0]])
    found = prototype_loss(embedding, jnp.array([0]), stored, jnp.eye(2), 0.5)
    np.testing.assert_allclose(found, [np.log1p(np.exp(-2.0))], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, r"config\.pretext\.temperature = 0\.0: between 0\.001"),
        ({"style_weight": -1.0}, r"config\.pretext\.style_weight = -1\.0: between 0"),
        ({"warm_up": 1.0}, r"config\.pretext\.warm_up = 1\.0: between 0"),
        ({"memory": 0}, r"config\.pretext\.memory = 0: give at least 1"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        pcfea(**options)
