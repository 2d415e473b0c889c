"""What every run with a pretext task records of its tasks' gradients, whatever the rule."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from smdsb_jax.combine.algebra import ABSENT, divide
from smdsb_jax.combine.base import Merged, Told
from smdsb_jax.state import Tree


def metrics_of(gradients: tuple[Tree, ...], told: Told, merged: Merged) -> dict[str, Float[Array, ""]]:
    """Of the encoder's gradients, by the names below `combine/`, and what the rule itself reports.

    - `cosine/TASK`: between the classification's and a task's, `cosine_merged`: and the rule's; 0 where one
      has no length.
    - `ratio/TASK`: length of a task's over the classification's.
    - `weight/TASK`: the rule's, where it has such.
    """
    main, *others = gradients
    inner = jnp.stack([optax.tree.vdot(main, g) for g in (main, *others, merged.encoder)])
    squared = jnp.stack([optax.tree.vdot(g, g) for g in (main, *others, merged.encoder)])
    length = jnp.sqrt(jnp.where(squared > ABSENT, squared, 0.0))
    cosine = jnp.clip(divide(inner, length[0] * length), -1.0, 1.0)
    ratio = divide(length, length[0])
    found = {f"cosine/{name}": value for name, value in zip(told.tasks[1:], cosine[1:-1], strict=True)}
    found |= {f"ratio/{name}": value for name, value in zip(told.tasks[1:], ratio[1:-1], strict=True)}
    found["cosine_merged"] = cosine[-1]
    if merged.weights is not None:
        found |= {f"weight/{name}": value for name, value in zip(told.tasks, merged.weights, strict=True)}
    return found | (merged.metrics or {})
