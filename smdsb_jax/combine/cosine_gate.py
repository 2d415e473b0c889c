"""A gate for auxiliary tasks: a gradient counts as far as it points along the classification's."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import by_gram
from smdsb_jax.registry import lookup

FORMS = ("soft", "hard")


def cosine_gate(*, form: str = "soft") -> Combine:
    """G = g_1 + Σ_k max(0, cos(g_1, g_k)) g_k: the counterpart of the selection for whole batches and tasks.

    [Du et al., arXiv:1812.02224]

    Args:
      form: `soft`: weighed by the cosine; `hard`: all of the gradient where g_1 · g_k ≥ 0, else nothing.

    Raises:
      ValueError: another form.
    """
    lookup(dict.fromkeys(FORMS), form, "config.combine.form")

    def weights_of(
        key: jax.Array, gram: Float[Array, "t t"], present: Bool[Array, " t"]
    ) -> Float[Array, " t"]:
        del key
        length = jnp.sqrt(jnp.diag(gram))
        soft = jnp.clip(divide(gram[0], length * length[0]), 0.0, 1.0)
        gate = soft if form == "soft" else (gram[0] >= 0).astype(gram.dtype)
        # without a gradient of the classification there is nothing to gate by
        return jnp.where(present[0], gate, 1.0).at[0].set(1.0)

    return by_gram(weights_of)
