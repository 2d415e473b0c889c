"""A second classification head, built as the first, for tasks that let two of them disagree."""

import jax
import jax.numpy as jnp

from smdsb_jax.network import Output, Passes, Train, put
from smdsb_jax.state import Features, Tree, Variables

NAME = "second"  # of its part of the task's own variables


def init_second_head(key: jax.Array, variables: Variables) -> dict[str, Tree]:
    """Collections for another head by those of the first, whatever that is made of.

    Each array of parameters has the first one's entries in another order: at the start, where they are drawn
    independently, that is another draw.
    """
    leaves, structure = jax.tree.flatten(variables["params"]["head"])
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        jax.random.permutation(k, jnp.ravel(a)).reshape(a.shape) for k, a in zip(keys, leaves, strict=False)
    ]
    # copies: the step donates its state, in which no array may stand twice
    kept = {kind: jax.tree.map(jnp.copy, trees["head"]) for kind, trees in variables.items()}
    return kept | {"params": jax.tree.unflatten(structure, drawn)}


def run_second_head(
    passes: Passes, variables: Variables, features: Features, key: jax.Array, *, train: Train
) -> tuple[Output, Variables]:
    """The pass of the classification head with `variables[…]["pretext"]["second"]` instead of its own."""
    as_first = {kind: {"head": trees["pretext"][NAME]} for kind, trees in variables.items()}
    output, after = passes.head(as_first, features, key, train=train)
    if not train:
        return output, variables
    own = {kind: trees["pretext"] | {NAME: after[kind]["head"]} for kind, trees in variables.items()}
    return output, put(variables, "pretext", own)
