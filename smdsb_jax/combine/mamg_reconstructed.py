"""A reconstruction of MAMG, which clips conflicting gradients to equal gains."""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import by_gram


def mamg_reconstructed() -> Combine:
    """In conflict the longer gradient g_L moves toward the shorter: g_L + |δ| (g_S - g_L) / ‖g_S - g_L‖.

    δ = (‖g_L‖² - ‖g_S‖²) / ‖g_S - g_L‖, what the two differ by along their difference; G is their sum. Both
    tasks then gain alike; for two, G is twice MGDA's vector. More tasks do so pair by pair in random order.

    A reconstruction of ours, no result of the paper's, whose text was not at hand: as its code is published,
    min(|δ|, 0) takes the place of |δ|, and the rule is the sum.
    [after Chai et al., doi:10.1109/TCYB.2022.3223377]
    """

    def weights_of(
        key: jax.Array, gram: Float[Array, "t t"], present: Bool[Array, " t"]
    ) -> Float[Array, " t"]:
        tasks = len(gram)
        order = jax.random.permutation(key, tasks)
        moved = jnp.eye(tasks, dtype=gram.dtype)  # row k: of which gradients task k's is made
        for a, b in itertools.combinations(range(tasks), 2):
            i, j = order[a], order[b]
            inner = moved @ gram @ moved.T
            excess = inner[i, i] - inner[j, j]
            longer, shorter = jnp.where(excess > 0, i, j), jnp.where(excess > 0, j, i)
            share = divide(jnp.abs(excess), inner[i, i] + inner[j, j] - 2 * inner[i, j])
            share = jnp.where((inner[i, j] < 0) & present[i] & present[j], share, 0.0)
            moved = moved.at[longer].add(share * (moved[shorter] - moved[longer]))
        return jnp.sum(moved, axis=0)

    return by_gram(weights_of)
