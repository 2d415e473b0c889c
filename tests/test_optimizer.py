import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smdsb_jax.optimizer import build_optimizer, learning_rate_schedule


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
    assert learning_rate_schedule("constant", 1e-3, 100)(77) == 1e-3


@pytest.mark.parametrize("name, schedule", [("sgd", "cosine"), ("adam", "linear")])
def test_unknown_names_are_refused(name, schedule):
    with pytest.raises(ValueError, match="one of"):
        build_optimizer(name, 1e-3, 0.0, schedule, 10)
