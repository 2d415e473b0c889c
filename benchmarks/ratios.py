"""Statistics of step times: spread, ratios with confidence intervals. NumPy only."""

from collections.abc import Sequence

import numpy as np


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, extremes and quartiles, in the values' unit."""
    low, q1, median, q3, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    return {"median": median, "min": low, "max": high, "quartile_1": q1, "quartile_3": q3}


def paired_ratio(
    baseline: Sequence[float], values: Sequence[float], draws: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """How many times faster than the baseline: median over rounds of baseline / value, with a 95 % interval.

    The two of one round ran one after the other, so a busy moment of the machine slows both. The interval
    is the percentile bootstrap's over rounds [Efron and Tibshirani, 1993, ch. 13]; few rounds make it coarse.

    Raises:
      ValueError: not one value of each per round.
    """
    if len(baseline) != len(values) or not len(values):
        raise ValueError(
            f"paired_ratio: {len(baseline)} and {len(values)} values; give one of each per round."
        )
    ratio = np.asarray(baseline) / np.asarray(values)
    rows = np.random.default_rng(seed).integers(0, len(ratio), (draws, len(ratio)))
    low, high = np.quantile(np.median(ratio[rows], axis=1), [0.025, 0.975])
    return {"median": float(np.median(ratio)), "low": float(low), "high": float(high)}
