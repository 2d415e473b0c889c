"""No tracker."""

from smdsb_jax.trackers.base import SILENT, Start, Tracker


def none(start: Start) -> Tracker:
    """`metrics.jsonl` alone, as JSON Lines [https://jsonlines.org]."""
    del start
    return SILENT
