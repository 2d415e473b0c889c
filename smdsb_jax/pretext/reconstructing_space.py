"""Reconstructing space: the cells of a cloud change places; tell for every point where it was."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.regions import CELLS, permute_cells
from smdsb_jax.layers.heads import PointwiseHead
from smdsb_jax.network import Passes, Train, run
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables
from smdsb_jax.tasks import cross_entropy


class Prepared(NamedTuple):
    """Clouds whose cells have changed places, and the cell in which each point was."""

    points: Float[Array, "batch n 3"]
    cell: Int[Array, "batch n"]


def reconstructing_space(*, shuffled_per: str = "sample", dropout: float = 0.5) -> Pretext:
    """Solve a 3 x 3 x 3 jigsaw   [Sauder & Sievers, arXiv:1901.08396; Alliegro et al., arXiv:2004.07392].

    Loss per sample: the mean over its points of CE(27 cells, the cell in which the point was), ln 27 where
    nothing is known. At every step new places are drawn, a bijection of the cells, each of which keeps its
    shape. `solved` is the share of the points that are told right. The head is DefRec's with 27 outputs, as
    in DefRec's comparison with this task.

    Args:
      shuffled_per: `sample`, a draw for every cloud, or `batch`, one for all, as DefRec draws its cells.
      dropout: in the head.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pretext.dropout", dropout, 0, 0.99)
    if shuffled_per not in ("sample", "batch"):
        raise ValueError(f"config.pretext.shuffled_per = {shuffled_per!r}: one of 'sample', 'batch'.")
    head = PointwiseHead(CELLS**3, dropout)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del variables
        return dict(head.lazy_init(key, features, train=False)), ()

    def prepare(view: View, key: jax.Array) -> Prepared:
        batch = view.points.shape[0]
        keys = jax.random.split(key, batch) if shuffled_per == "sample" else jnp.repeat(key, batch)
        permutation = jax.vmap(lambda k: jax.random.permutation(k, CELLS**3))(keys)
        return Prepared(*jax.vmap(permute_cells)(permutation, view.points))

    def loss(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Prepared,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses:
        del state
        encoder_key, head_key = jax.random.split(key)
        features, variables = passes.encode(variables, prepared.points, encoder_key, train=train)
        logits, variables = run(head, variables, "pretext", features, train=train, key=head_key)
        right = jnp.mean(jnp.argmax(logits, axis=-1) == prepared.cell, axis=-1)
        mean = jnp.mean(cross_entropy(logits, prepared.cell), axis=-1)
        return Losses({"jigsaw": mean}, variables, {"jigsaw": right})

    return Pretext(init, prepare, loss, ("jigsaw",))
