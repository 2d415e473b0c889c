import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smdsb_jax.optimizer import build_optimizer, learning_rate_schedule, momentum_cycle


def two_steps(name, decay):
    optimizer = build_optimizer(name, 0.1, decay, "constant", 10)
    params = jnp.array([2.0])
    state = optimizer.init(params)
    for gradient in (1.0, -0.5):
        updates, state = optimizer.update(jnp.array([gradient]), state, params)
        params = optax.apply_updates(params, updates)
    return float(params[0])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_two_steps_by_hand(name):
    w, m, v, decay = 2.0, 0.0, 0.0, 0.3
    for t, gradient in enumerate((1.0, -0.5), start=1):
        g = gradient + (decay * w if name == "adam" else 0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        update = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w -= 0.1 * (update + (decay * w if name == "adamw" else 0))
    assert two_steps(name, decay) == pytest.approx(w, rel=1e-5)


def test_schedules():
    cosine = learning_rate_schedule("cosine", 1e-3, 100)
    np.testing.assert_allclose([cosine(0), cosine(50), cosine(100)], [1e-3, 5e-4, 0], atol=1e-9)
    cycle = learning_rate_schedule("one_cycle", 1e-3, 1000)
    np.testing.assert_allclose([cycle(0), cycle(300), cycle(1000)], [4e-5, 1e-3, 4e-9], rtol=1e-4)
    waves = learning_rate_schedule("waves", 1e-3, 100)  # of 100 epochs: 0, 5, 10, 15, 20
    np.testing.assert_allclose([waves(e) for e in (0, 5, 10, 15, 20)], [1e-3, 5e-4, 0, 5e-4, 1e-3], atol=1e-9)
    wave = learning_rate_schedule("wave", 1e-3, 40)  # of 2 rounds of 20 epochs
    expected = [1e-3, 5e-4, 0, 5e-4, 9.938e-4]
    np.testing.assert_allclose([wave(e) for e in (0, 10, 20, 30, 39)], expected, atol=1e-7)
    assert learning_rate_schedule("constant", 1e-3, 100)(77) == 1e-3


def test_the_momentum_moves_against_the_one_cycle():
    beta = momentum_cycle(1000)
    np.testing.assert_allclose([beta(s) for s in (0, 300, 1000)], [0.95, 0.85, 0.95], rtol=1e-6)
    np.testing.assert_allclose([beta(150), beta(650)], [0.9, 0.9], rtol=1e-6)  # half of a half cosine


def test_one_cycle_steps_equal_pytorchs_formula():
    steps, decay, params, m, v = 10, 0.3, 2.0, 0.0, 0.0
    optimizer = build_optimizer("adamw", 0.1, decay, "one_cycle", steps)
    found = jnp.array([params])
    state = optimizer.init(found)
    rate, beta = learning_rate_schedule("one_cycle", 0.1, steps), momentum_cycle(steps)
    for t, g in enumerate((1.0, -0.5, 0.25), start=1):
        updates, state = optimizer.update(jnp.array([g]), state, found)
        found = optax.apply_updates(found, updates)
        b, lr = float(beta(t - 1)), float(rate(t - 1))
        m, v = b * m + (1 - b) * g, 0.999 * v + 0.001 * g * g
        step = (m / (1 - b**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        params = params * (1 - lr * decay) - lr * step
    np.testing.assert_allclose(found, [params], rtol=1e-5)


@pytest.mark.parametrize("name, schedule", [("sgd", "cosine"), ("adam", "linear")])
def test_unknown_names_are_refused(name, schedule):
    with pytest.raises(ValueError, match="one of"):
        build_optimizer(name, 1e-3, 0.0, schedule, 10)
