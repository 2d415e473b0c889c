"""Selection statistics: what the step knows of a sample → a score; the lowest or highest are kept."""

from smdsb_jax.registry import lookup
from smdsb_jax.statistics.base import Score, Statistic
from smdsb_jax.statistics.random import random
from smdsb_jax.statistics.skewness import skewness

STATISTICS: dict[str, Statistic] = {
    "skewness": Statistic(skewness, target_shift=(0.1, 0.1)),  # asymmetry of the saliency mass: the paper
    "random": Statistic(random),  # SM-DSB with random scores: the control
}


def find_statistic(name: str) -> Statistic:
    """The statistic of this name, or a user's `package.module:function`.

    Raises:
      ValueError: an unknown name, or what was imported is no function.
    """
    found: Statistic | Score = lookup(STATISTICS, name, "config.selection.statistic")
    if isinstance(found, Statistic):
        return found
    if not callable(found):
        raise ValueError(
            f"config.selection.statistic = {name!r} is a {type(found).__name__}, not a function."
        )
    return Statistic(found)


__all__ = ["STATISTICS", "Score", "Statistic", "find_statistic"]
