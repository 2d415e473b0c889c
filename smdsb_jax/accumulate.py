"""A mini-batch in parts, one after the other, so that only one part's activations exist at a time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from smdsb_jax.state import Tree


class OfPart(NamedTuple):
    """What a pass over some samples leaves."""

    total: Tree  # added up over the parts, as losses and gradients
    rows: Tree  # of each sample, along the first axis: put together in the order of the mini-batch
    carried: Tree  # what the pass over the next part starts from, as batch statistics


def over_parts(
    count: int, run: Callable[[Tree, Tree, Tree], OfPart], keys: Tree, carried: Tree, rows: Tree
) -> OfPart:
    """`run(keys, carried, rows)` of `count` equal parts of the rows.

    Part i has the samples i, i + count, …, of which each device of a mesh holds as many. Each part draws
    from keys of its own. With one part it is the call itself.

    Args:
      count: of parts; it divides the samples.
      run: of some samples; what it adds up must be their share of what is of all.
      keys: a tree of keys.
      carried: what the first part starts from.
      rows: a tree of arrays, each with samples along its first axis.
    """
    if count == 1:
        return run(keys, carried, rows)

    def of_part(carried: Tree, given: tuple[Tree, Tree]) -> tuple[Tree, tuple[Tree, Tree]]:
        found = run(given[0], carried, given[1])
        return found.carried, (found.total, found.rows)

    def divided(leaf: jax.Array) -> jax.Array:
        return jnp.swapaxes(leaf.reshape(-1, count, *leaf.shape[1:]), 0, 1)

    def together(leaf: jax.Array) -> jax.Array:
        return jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])

    split = jax.tree.map(lambda key: jax.random.split(key, count), keys)
    carried, (total, found) = jax.lax.scan(of_part, carried, (split, jax.tree.map(divided, rows)))
    total = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), total)
    return OfPart(total, jax.tree.map(together, found), carried)


def rows_of_parts(count: int, function: Callable[..., Tree], *rows: Tree) -> Tree:
    """`function(*rows)` of samples that do not see each other, part by part."""
    run = lambda keys, carried, rows: OfPart((), function(*rows), ())  # noqa: E731
    return over_parts(count, run, (), (), rows).rows
