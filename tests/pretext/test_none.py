import jax
import jax.numpy as jnp

from smdsb_jax.pretext import PRETEXT, View
from smdsb_jax.pretext.none import none
from smdsb_jax.registry import options


def test_it_has_no_options_no_variables_no_state_and_no_loss():
    assert PRETEXT["none"] is none and options(none) == {}
    task = none()
    variables = {"params": {"encoder": {}}, "batch_stats": {"encoder": {}}}
    heads, state = task.init(jax.random.key(0), None, variables)
    assert heads == {"params": {}, "batch_stats": {}} and state == ()
    view = View(jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 3)), None, "target", jnp.zeros(()))
    assert task.prepare(view, jax.random.key(1)) == ()
    assert task.names == () and task.loss is None and task.joint is None
    assert task.update(state, variables) == ()
