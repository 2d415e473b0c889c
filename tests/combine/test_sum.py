import jax
import jax.numpy as jnp

from smdsb_jax.combine import Told
from smdsb_jax.combine.sum import sum_gradients


def test_three_tasks_add_up_and_the_losses_do_not_matter():
    gradients = tuple({"a": jnp.full(2, float(k))} for k in (1, 2, 4))
    told = Told(("class", "pretext/a", "pretext/b"), jnp.full(3, 9.0), jnp.ones(3), jnp.zeros(()))
    merged = sum_gradients().update(jax.random.key(0), gradients, told, ())
    assert (merged.encoder["a"] == 7).all() and merged.state == () and merged.head_weights is None
