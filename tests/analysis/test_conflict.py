"""Agreement against plain gradients: one backward pass per mini-batch and per sample, then numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import gradients
from smdsb_jax.analysis import conflict
from smdsb_jax.analysis.views import augment_all, augment_and_prepare
from smdsb_jax.network import passes_of
from smdsb_jax.state import Batch
from smdsb_jax.train_step import class_loss

PICKED = [(0, 0, 1), (0, 1, 6), (1, 0, 3), (1, 1, 0)]  # (domain, mini-batch, place in it)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


def cos(a, b):
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / scale if scale > 0 else 0.0


class Plain:
    """The losses of a checkpoint written out, and their gradients by the encoder's parameters."""

    def __init__(self, subject):
        self.subject, state = subject, subject.state
        self.encoder, self.variables = state.variables["params"]["encoder"], state.variables
        self.of_class = jax.jit(jax.grad(self.class_loss), static_argnums=3)
        weighted = lambda weights, *given: jnp.dot(weights, self.pretext_losses(*given))  # noqa: E731
        self.of_pretext = jax.jit(jax.grad(weighted, argnums=1), static_argnums=4)

    def class_loss(self, encoder, points, label, train):
        network, stats = self.subject.parts.network, self.variables["batch_stats"]
        mutable = {"mutable": ["batch_stats"]} if train else {}
        of = {"params": encoder, "batch_stats": stats["encoder"]}
        features = network.encoder.apply(of, points, train=train, **mutable)
        features = features[0] if train else features
        of = {"params": self.variables["params"]["head"], "batch_stats": stats["head"]}
        logits = network.head.apply(of, features, train=train, **mutable)
        log_p = jax.nn.log_softmax(logits[0] if train else logits)
        return -jnp.mean(log_p[jnp.arange(len(label)), label])

    def pretext_losses(self, encoder, prepared, key, train):
        variables = {**self.variables, "params": {**self.variables["params"], "encoder": encoder}}
        passes = passes_of(self.subject.parts.network)
        task = self.subject.parts.pretext
        found = task.loss(passes, variables, self.subject.state.pretext, prepared, key, train=train)
        return 0.2 * found.per_sample["reconstruction"]  # DefRec's weight

    def directions(self, batches, train):
        """g_c, g_o and g_s of each domain: means over the mini-batches, DefRec's weight on the first."""
        rows = []
        for b in batches:
            (source, target), (label, true) = b.points, b.label
            of_class = 0.8 * flat(self.of_class(self.encoder, source, label, train))
            oracle = flat(self.of_class(self.encoder, target, true, train))
            rows.append([of_class, oracle, *(self.own(b, domain, train) for domain in range(2))])
        return np.mean(rows, axis=0)

    def own(self, batch, domain, train, weights=np.full(8, 0.125, np.float32)):  # noqa: B008 - read only
        """The weighted sum of the samples' pretext gradients: in the mini-batch, or each alone."""
        prepared, key = batch.prepared[domain], batch.loss_keys[domain]
        if train:
            return flat(self.of_pretext(weights, self.encoder, prepared, key, True))
        rows = [
            (weights[i : i + 1], jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], prepared)) for i in range(8)
        ]
        each = [flat(self.of_pretext(w, self.encoder, row, key, False)) for w, row in rows if w.any()]
        return np.sum(each, axis=0)

    def sample(self, batches, domain, number, place, train):
        """A sample's pretext gradient: in its mini-batch, or alone."""
        return self.own(batches[number], domain, train, np.eye(8, dtype=np.float32)[place])


@pytest.fixture(scope="module")
def batches(subjects, measured):
    program = jax.jit(functools.partial(augment_and_prepare, subjects[1].parts))
    return augment_all(program, subjects[1], measured.drawn.rows, seed=0)


@pytest.fixture(scope="module")
def plain(subjects, batches, measured):
    found = Plain(subjects[1])
    pool = batches[measured.drawn.skipped :]  # other clouds than the samples
    found.coupled, found.running = (found.directions(pool, train) for train in (True, False))
    return found


def assert_picked(values, expected):
    """Four samples of [2, samples], eight to a mini-batch; errors relative to the largest value."""
    found = [values[domain, 8 * number + place] for domain, number, place in PICKED]
    assert len(np.unique(expected)) == len(PICKED)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_every_measure_is_that_of_plain_gradients(plain, batches, measured):
    g_c, g_o, source, target = plain.coupled
    c, o, own_source, own_target = plain.running
    coupled = [plain.sample(batches, *which, train=True) for which in PICKED]
    alone = [plain.sample(batches, *which, train=False) for which in PICKED]
    g, h = g_c + source + target, c + own_source + own_target
    shares = [s / 8 for s in alone]  # what one of a mini-batch of 8 adds to the mean
    # its first-order part: the derivative of cos(g, g_o) along the share, by central differences
    slope = lambda s: (cos(g + 1e-4 * s, g_o) - cos(g - 1e-4 * s, g_o)) / 2e-4  # noqa: E731
    expected = {
        "dot_c": [s @ g_c for s in coupled],
        "dot_o": [s @ g_o for s in coupled],
        "cos_c": [cos(s, c) for s in alone],
        "cos_s": [cos(s, own_source + own_target) for s in alone],
        "cos_o": [cos(s, o) for s in alone],
        "gain": [cos(c + s, o) - cos(c, o) for s in alone],
        "loo": [cos(h, o) - cos(h - s, o) for s in shares],
        "loo1": [slope(s / 8) for s in coupled],
    }
    assert measured.found.measures.keys() == expected.keys()
    for name, values in expected.items():
        assert measured.found.measures[name].shape == (2, 16)
        assert_picked(measured.found.measures[name], values)


def test_the_checks_are_the_same_measures_by_other_definitions(plain, batches, measured, subjects):
    checks, found = measured.found.checks, measured.found.measures
    assert set(checks) == {f"dot_o, {of}" for of in ("coupled", "frozen_batch", "running", "deployed")} | {
        "cos_o", "cos_o, last layer", "size",
        *(f"dot_o, {of}{half}" for of in ("", "deployed, ") for half in ("one half", "other half")),
    }  # fmt: skip
    np.testing.assert_array_equal(checks["dot_o, coupled"], found["dot_o"])
    np.testing.assert_array_equal(checks["cos_o"], found["cos_o"])
    alone = [plain.sample(batches, *which, train=False) for which in PICKED]
    assert_picked(checks["dot_o, running"], [s @ plain.running[1] for s in alone])
    assert_picked(checks["size"], [np.linalg.norm(s) for s in alone])
    # the part of the gradient that belongs to the layer whose kernel has as many columns as the embedding
    names = jax.tree.map(lambda _: "other", plain.encoder)
    (last,) = [k for k, v in plain.encoder.items() if any(x.shape[-1:] == (16,) for x in jax.tree.leaves(v))]
    names = {**names, last: jax.tree.map(lambda _: "last", plain.encoder[last])}
    sizes = zip(jax.tree.leaves(names), jax.tree.leaves(plain.encoder), strict=True)
    own = np.concatenate([np.full(leaf.size, name == "last") for name, leaf in sizes])
    assert 0 < own.sum() < own.size
    assert_picked(checks["cos_o, last layer"], [cos(s[own], plain.running[1][own]) for s in alone])
    assert np.isfinite(checks["dot_o, frozen_batch"]).all()
    assert not np.allclose(checks["dot_o, frozen_batch"], checks["dot_o, coupled"], rtol=0.01)


def test_the_deployed_gradient_is_that_of_inference_once_the_statistics_have_followed(
    subjects, batches, plain, measured
):
    subject, stats = subjects[1], {k: plain.variables["batch_stats"][k] for k in ("encoder", "head")}
    network = subject.parts.network

    @jax.jit
    def losses(encoder, batch, stats):  # in inference mode, and what passes of both domains leave
        of = {"params": encoder, "batch_stats": stats["encoder"]}
        features = network.encoder.apply(of, batch.points.target, train=False)
        logits = network.head.apply(
            {"params": plain.variables["params"]["head"], "batch_stats": stats["head"]}, features, train=False
        )
        true = batch.label.target
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(true)), true])

    @jax.jit
    def statistics(encoder, batch):
        found = []
        for points in batch.points:
            own, empty = {}, jax.tree.map(jnp.zeros_like, stats)
            of = {"params": encoder, "batch_stats": empty["encoder"]}
            features, new = network.encoder.apply(of, points, train=True, mutable=["batch_stats"])
            own["encoder"] = new["batch_stats"]
            of = {"params": plain.variables["params"]["head"], "batch_stats": empty["head"]}
            _, new = network.head.apply(of, features, train=True, mutable=["batch_stats"])
            own["head"] = new["batch_stats"]
            found.append(own)
        return jax.tree.map(lambda a, b: 10 * (a + b) / 2, *found)  # a pass has a weight of 0.1

    direction = jax.tree.map(lambda p: jnp.cos(7.0 * jnp.arange(p.size)).reshape(p.shape), plain.encoder)
    setup = gradients.Setup(subject.parts, subject.state.variables, subject.state.pretext, True)
    for batch in batches[:1]:  # differences of a network with neighbor graphs meet its kinks elsewhere
        given = (setup, batch.points, batch.label.target, batch.key)
        own = jax.jit(lambda encoder, given=given: gradients.deployed_losses(*given)(encoder))
        value, slope = jax.jvp(lambda e, own=own: jnp.mean(own(e)), (plain.encoder,), (direction,))
        start = statistics(plain.encoder, batch)
        assert value == pytest.approx(float(losses(plain.encoder, batch, stats)), rel=1e-4)

        def moved(size, batch=batch, start=start):
            encoder = jax.tree.map(lambda p, d: p + size * d, plain.encoder, direction)
            now = jax.tree.map(lambda r, a, b: r + a - b, stats, statistics(encoder, batch), start)
            return float(losses(encoder, batch, now))

        assert slope == pytest.approx((moved(1e-4) - moved(-1e-4)) / 2e-4, rel=0.03)
    found = {k: float(v) for k, v in measured.found.angles.items()}
    assert found["class and oracle"] == pytest.approx(cos(*plain.coupled[:2]), abs=1e-3)
    assert found["class and oracle, running"] == pytest.approx(cos(*plain.running[:2]), abs=1e-3)
    pool = batches[measured.drawn.skipped :]
    deployed = np.mean([flat(jax.grad(lambda e, b=b: jnp.mean(gradients.deployed_losses(
        setup, b.points, b.label.target, b.key)(e)))(plain.encoder)) for b in pool], axis=0)  # fmt: skip
    halves = [plain.directions(pool[i::2], True)[1] for i in range(2)]
    assert found["oracle, halves"] == pytest.approx(cos(*halves), abs=1e-3)
    for half, name in zip(halves, ("one half", "other half"), strict=True):
        own = [plain.sample(batches, *which, train=True) @ half for which in PICKED]
        assert_picked(measured.found.checks[f"dot_o, {name}"], own)
    assert found["oracle and deployed"] == pytest.approx(cos(plain.coupled[1], deployed), abs=1e-3)
    assert found["oracle, running, and deployed"] == pytest.approx(cos(plain.running[1], deployed), abs=1e-3)
    coupled = [plain.sample(batches, *which, train=True) for which in PICKED]
    assert_picked(measured.found.checks["dot_o, deployed"], [s @ deployed for s in coupled])


def test_a_source_that_has_no_part_in_the_pretext_task_is_not_in_the_total(subjects, batches, plain):
    subject, batch = subjects[1], batches[0]
    given = (subject.state.variables, subject.state.pretext, batch)
    parts = subject.parts._replace(pretext_on_source=False)
    found = jax.jit(functools.partial(conflict.directions, parts, False))(*given)
    of_class, oracle, total = (flat(jax.tree.map(lambda leaf, i=i: leaf[i], found)) for i in range(3))
    c, o, source, target = plain.directions([batch], False)
    assert np.linalg.norm(source) > 0.01 * np.linalg.norm(c + target)
    for value, expected in ((of_class, c), (oracle, o), (total, c + target)):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_class_gradient_of_stage_2_is_that_of_the_step_with_its_pseudo_labels(subjects, measured):
    subject = subjects[2]
    halved = subject._replace(labels=subject.labels._replace(weight=0.5 * subject.labels.weight))
    program = jax.jit(functools.partial(augment_and_prepare, subject.parts))
    rows = tuple(rows[:1] for rows in measured.drawn.rows)
    (batch,) = augment_all(program, halved, rows, seed=0)
    variables = subject.state.variables
    parts = subject.parts._replace(pretext_on_source=False)
    found = jax.jit(functools.partial(conflict.directions, parts, True))(
        variables, subject.state.pretext, batch
    )
    augmented = Batch(
        batch.pseudo._replace(points=batch.points.source, label=batch.label.source), batch.pseudo
    )
    augmented = augmented._replace(source=augmented.source._replace(weight=None))
    step = jax.jit(jax.grad(functools.partial(class_loss, parts), argnums=1, has_aux=True))
    expected, _ = step(batch.key, variables["params"], variables["batch_stats"], batch.points, augmented)
    of_class = flat(jax.tree.map(lambda leaf: leaf[conflict.CLASS], found))
    expected = flat(expected["encoder"])
    np.testing.assert_allclose(of_class, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_ticks_are_counted_beforehand(measured):
    assert len(measured.ticks) == conflict.count_ticks(pool=4, measured=2) == 3 * (4 + 2) + 3 * 2
    assert all(isinstance(what, str) for what in measured.ticks)
