import jax
import jax.numpy as jnp

from smdsb_jax.combine.sum import sum_gradients


def test_three_tasks_add_up_and_the_losses_do_not_matter():
    gradients = tuple({"a": jnp.full(2, float(k))} for k in (1, 2, 4))
    merged, state = sum_gradients().update(jax.random.key(0), gradients, jnp.array([9.0, 9.0, 9.0]), ())
    assert (merged["a"] == 7).all() and state == ()
