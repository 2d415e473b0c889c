"""What a combination rule is."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from smdsb_jax.state import Tree


class Combine(NamedTuple):
    """An optax-like pair of pure functions.

    `init(params) -> state`; `update(key, gradients, losses, state) -> (gradient, state)` with one gradient
    tree and one loss per task. Only encoder gradients pass through it; heads keep their own task's.
    Loss weights are already in the gradients; weight decay is not.
    """

    init: Callable[[Tree], Tree]
    update: Callable[[jax.Array, tuple[Tree, ...], Float[Array, " tasks"], Tree], tuple[Tree, Tree]]
