"""Selection statistics: what the step knows of a sample → a score; the lowest or highest are kept."""

from typing import Any

from smdsb_jax.registry import FUNCTION, Kind, lookup
from smdsb_jax.statistics.base import Score, Statistic
from smdsb_jax.statistics.el2n import el2n
from smdsb_jax.statistics.entropy import entropy, prediction_entropy
from smdsb_jax.statistics.gini import gini
from smdsb_jax.statistics.grand import grand
from smdsb_jax.statistics.kurtosis import kurtosis
from smdsb_jax.statistics.l_skewness import l_skewness
from smdsb_jax.statistics.loss import loss
from smdsb_jax.statistics.margin import margin
from smdsb_jax.statistics.medcouple import medcouple
from smdsb_jax.statistics.pretext_loss import pretext_loss
from smdsb_jax.statistics.random import random
from smdsb_jax.statistics.saliency_size import saliency_maximum, saliency_norm
from smdsb_jax.statistics.skewness import adjusted_skewness, skewness
from smdsb_jax.statistics.top_mass import top_mass

# Each keeps the side that little skewness is on: decisions that lean on many points, or come easily.
STATISTICS: dict[str, Statistic] = {
    "skewness": Statistic(skewness, target_shift=(0.1, 0.1)),  # asymmetry of the saliency mass: the paper
    "adjusted_skewness": Statistic(adjusted_skewness, target_shift=(0.1, 0.1)),  # compares numbers of points
    "medcouple": Statistic(medcouple),  # asymmetry by ranks: no outlier moves it, many ties do
    "l_skewness": Statistic(l_skewness),  # asymmetry, linear in the saliencies: between those two
    "kurtosis": Statistic(kurtosis),  # do few points stand out, of either sign?
    "gini": Statistic(gini),  # inequality of the mass, bounded
    "entropy": Statistic(entropy, side="high"),  # spread of the mass over the points
    "top_mass": Statistic(top_mass),  # concentration of the mass that needs no explanation
    "saliency_norm": Statistic(saliency_norm),  # size of the map alone: is it the shape that matters?
    "saliency_maximum": Statistic(saliency_maximum),  # the size of its one largest value
    "loss": Statistic(loss),  # hardness of the sample: does the map tell more?
    "margin": Statistic(margin, side="high", per_cloud=True),  # the same, bounded
    "prediction_entropy": Statistic(prediction_entropy, per_cloud=True),  # the same without a label
    "el2n": Statistic(el2n, per_cloud=True),  # the same as an error: data pruning's score
    "grand": Statistic(grand, per_cloud=True),  # the same as a gradient of the last layer
    "pretext_loss": Statistic(pretext_loss, needs_pretext=True),  # hardness of what it is selected for
    "random": Statistic(random),  # SM-DSB with random scores: the control
}
OWN = Kind(
    "a Python function of one sample, or a smdsb_jax.statistics.Statistic of one",
    lambda found: isinstance(found, Statistic) or FUNCTION.fits(found),
)


def find_statistic(statistic: str | Score | Statistic) -> Statistic:
    """The statistic of this name, of a user's `package.module:name` or function, or as it is given.

    Raises:
      ValueError: an unknown name, or what was imported is neither a function nor a Statistic.
    """
    named = isinstance(statistic, str)
    found: Any = lookup(STATISTICS, statistic, "config.selection.statistic", OWN) if named else statistic
    return found if isinstance(found, Statistic) else Statistic(found)


__all__ = ["STATISTICS", "Score", "Statistic", "find_statistic"]
