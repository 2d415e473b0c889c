"""No pretext task."""

import jax
from jaxtyping import Array, Float

from smdsb_jax.network import Train
from smdsb_jax.pretext.base import Encode, Pretext
from smdsb_jax.state import Tree, Variables


def none() -> Pretext:
    """Classification alone: `source_only`, the lower bound of every table   [SM-DSB, Table I, first row].

    Its empty dict of losses tells the step to make no pretext pass at all.
    """
    return Pretext(
        init=lambda key, features, variables: ({"params": {}, "batch_stats": {}}, ()),
        prepare=lambda view, key: (),
        loss=_loss,
    )


def _loss(
    encode: Encode, variables: Variables, state: Tree, prepared: Tree, key: jax.Array, *, train: Train = True
) -> tuple[dict[str, Float[Array, " batch"]], Variables]:
    del encode, state, prepared, key, train
    return {}, variables
