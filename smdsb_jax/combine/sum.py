"""The plain sum of the task gradients."""

import jax

from smdsb_jax.combine.base import Combine, Merged


def sum_gradients() -> Combine:
    """G = Σ_k g_k: one update on the weighted sum of the losses   [DefRec, GAST and Self-dist alike]."""

    def update(key, gradients, told, state):
        del key, told
        return Merged(jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *gradients), state)

    return Combine(init=lambda params, tasks: (), update=update)
