import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from smdsb_jax import augment, resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.network import encode, passes_of
from smdsb_jax.pretext import View, prepare
from smdsb_jax.pretext.self_distillation import Teacher, average, distillation_loss, self_distillation
from tests.tiny_run import tiny_config

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def built():
    config = tiny_config()
    config.pretext = type(config)({"name": "self_distillation", "weight": 1.0, "on_source": True})
    config.pretext.update(
        {
            "teacher_temperature": 0.1,
            "student_temperature": 0.5,
            "momentum": 0.999,
            "jitter_std": 0.01,
            "jitter_clip": 0.05,
        }
    )
    parts = build_parts(resolve(config), 1, 3)
    return parts, jax.jit(functools.partial(init_state, parts))(KEY)


def view(progress=1.0, label=None, batch=4):
    stored = jax.random.normal(KEY, (batch, 64, 3))
    return View(stored[:, :32], stored, label, "target", jnp.asarray(progress))


def loss(built, view, key=KEY, **changes):
    parts, state = built
    state = state.replace(**changes)
    prepared, key = prepare(parts.pretext, view, key)
    found = parts.pretext.loss(passes_of(parts.network), state.variables, state.pretext, prepared, key)
    return found.per_sample["distillation"], found.variables


def test_the_loss_against_scipy_and_the_published_values():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 5, 16)).astype(np.float32)
    expected = -(scipy.special.softmax(teacher, 1) * scipy.special.log_softmax(student, 1)).sum(1)
    np.testing.assert_allclose(
        distillation_loss(jnp.asarray(teacher), jnp.asarray(student)), expected, rtol=1e-5
    )
    zero = jnp.zeros((1, 1024))
    np.testing.assert_allclose(distillation_loss(zero, zero), np.log(1024), rtol=1e-6)
    one = zero.at[0, 0].set(10.0)
    found = distillation_loss(one / 0.1, one / 0.5)
    np.testing.assert_allclose(found, np.log1p(1023 * np.exp(-20)), atol=2e-6)  # float32 near log 1


def test_the_ramp(built):
    values = [loss(built, view(progress))[0] for progress in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(values[0] / values[2], 0.0067379, rtol=1e-4)
    np.testing.assert_allclose(values[1] / values[2], 0.2865048, rtol=1e-4)


def test_the_sum_of_both_domains_means_is_the_mean_over_all(built):
    parts, state = built
    encoder = functools.partial(encode, parts.network)
    given = view()
    found, _ = loss(built, given)
    student, _ = encoder(state.variables, given.points, KEY)
    # the teacher's view, by the keys that the task documents in its code
    weak_keys = jax.random.split(jax.random.split(KEY)[0], 4)

    def weak(key, cloud):
        first, second = jax.random.split(key)
        return augment.jitter(second, augment.subsample(first, cloud, 32, "uniform").points, 0.01, 0.05)

    teacher, _ = encoder(state.variables, jax.vmap(weak)(weak_keys, given.stored), KEY, train=False)
    expected = distillation_loss(teacher.embedding / 0.1, student.embedding / 0.5) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_student_learns_and_the_teacher_does_not(built):
    _, state = built

    def total(params, teacher):
        variables = state.variables | {"params": params}
        pretext = Teacher(state.pretext.encoder | {"params": teacher}, state.pretext.updates)
        return loss(built, view(), variables=variables, pretext=pretext)[0].sum()

    of_student, of_teacher = jax.grad(total, argnums=(0, 1))(
        state.variables["params"], state.pretext.encoder["params"]
    )
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(of_student["encoder"])) > 0
    assert all((g == 0).all() for g in jax.tree.leaves(of_teacher))


def test_statistics_are_recorded_where_the_class_pass_has_not_seen_the_view(built):
    _, state = built
    _, unlabelled = loss(built, view())
    _, labelled = loss(built, view(label=jnp.zeros(4, jnp.int32)))
    chex.assert_trees_all_equal(labelled["batch_stats"], state.variables["batch_stats"])
    changed = jax.tree.map(
        lambda a, b: bool((a != b).any()), unlabelled["batch_stats"], state.variables["batch_stats"]
    )
    assert any(jax.tree.leaves(changed["encoder"]))


def test_the_average_of_parameters_and_statistics(built):
    _, state = built
    encoder = jax.tree.map(jnp.zeros_like, state.pretext.encoder)
    student = jax.tree.map(jnp.ones_like, encoder)
    for updates, old in ((0, 0.0), (1, 0.5), (9, 0.9), (999, 0.999), (10**6, 0.999)):
        found = average(Teacher(encoder, jnp.asarray(updates)), student, 0.999)
        for leaf in jax.tree.leaves(found):
            np.testing.assert_allclose(leaf, 1 - old, rtol=1e-4)
    task = self_distillation()
    after = task.update(state.pretext, state.variables)
    assert after.updates == 1
    chex.assert_trees_all_close(after.encoder["params"], state.variables["params"]["encoder"])


@pytest.mark.parametrize("option", ["teacher_temperature", "student_temperature", "momentum", "jitter_std"])
def test_impossible_options_are_refused(option):
    with pytest.raises(ValueError, match=rf"config\.pretext\.{option}"):
        self_distillation(**{option: -1.0})
