"""No pretext task."""

from smdsb_jax.pretext.base import Pretext


def none() -> Pretext:
    """Classification alone: `source_only`, the lower bound of every table   [SM-DSB, Table I, first row].

    It has no losses, so that the step makes no pretext pass at all.
    """
    return Pretext(
        init=lambda key, features, variables: ({"params": {}, "batch_stats": {}}, ()),
        prepare=lambda view, key: (),
        loss=None,
        names=(),
    )
