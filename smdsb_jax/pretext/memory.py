"""The embeddings that a network gave last, per domain, for tasks with prototypes.

A memory is kept in the task's batch statistics: as BatchNorm's running ones it is what passes leave behind.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.network import put
from smdsb_jax.state import Pair, Tree, Variables

NOBODY = -1  # the label of a place that is still empty


def empty_memory(size: int, width: int) -> dict[str, Tree]:
    """Of both domains, without an embedding yet: the task's own `batch_stats`.

    Args:
      size: embeddings of each domain.
      width: of an embedding.
    """
    return {
        domain: {
            "embedding": jnp.zeros((size, width)),
            "label": jnp.full(size, NOBODY, jnp.int32),
            "confidence": jnp.zeros(size),
        }
        for domain in Pair._fields
    }


def remember(
    variables: Variables,
    domain: str,
    embedding: Float[Array, "batch d"],
    label: Int[Array, " batch"],
    confidence: Float[Array, " batch"],
) -> Variables:
    """The variables with these in front of the domain's memory, and as many of the oldest left out.

    They are constants to differentiation.
    """
    memory = variables["batch_stats"]["pretext"]
    new = jax.lax.stop_gradient({"embedding": embedding, "label": label, "confidence": confidence})
    kept = {
        name: jnp.concatenate([new[name].astype(old.dtype), old])[: len(old)]
        for name, old in memory[domain].items()
    }
    return put(variables, "pretext", {"batch_stats": memory | {domain: kept}})


def surest_of_classes(
    memory: dict[str, Array], share: Float[Array, ""] | float, classes: int
) -> Float[Array, "m classes"]:
    """Rows of one-hot labels: of each class the floor(share · count) most confident; the others' are 0."""
    place = jnp.where(memory["label"] == NOBODY, classes, memory["label"])  # a class of the empty ones
    count = jnp.bincount(place, length=classes + 1)
    order = jnp.lexsort((-memory["confidence"], place))
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    within = rank - (jnp.cumsum(count) - count)[place]
    taken = within < jnp.floor(share * count)[place]
    return jnp.where(taken[:, None], jax.nn.one_hot(place, classes), 0)


def class_means(values: Float[Array, "m d"], member: Float[Array, "m classes"]) -> Float[Array, "classes d"]:
    """The mean of each class's members; 0 of a class without any."""
    count = jnp.sum(member, axis=0)
    return (member.T @ values) / jnp.maximum(count, 1)[:, None]
