"""No pretext task."""

from smdsb_jax.pretext.base import Pretext


def none() -> Pretext:
    """Classification alone: `source_only`, the lower bound of every table   [SM-DSB, Table I, first row].

    Its empty dict of losses tells the step to make no pretext pass at all.
    """
    return Pretext(
        init=lambda key, features, variables: ({"params": {}, "batch_stats": {}}, ()),
        loss=lambda encode, variables, state, view, key: ({}, variables),
    )
