"""Statistics of known numbers."""

import numpy as np
import pytest

from benchmarks.ratios import paired_ratio, spread


def test_spread_of_five_numbers():
    wanted = {"median": 3.0, "min": 1.0, "max": 9.0, "quartile_1": 2.0, "quartile_3": 4.0}
    assert spread([9, 1, 4, 2, 3]) == wanted


def test_a_constant_ratio_has_no_spread_however_the_machine_slows():
    seconds = np.array([1.0, 7.0, 2.0, 3.0])
    assert paired_ratio(2 * seconds, seconds) == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_the_interval_covers_the_true_ratio_in_about_95_of_100_cases():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        noise = rng.lognormal(0.0, 0.2, (2, 40))
        found = paired_ratio(3.0 * noise[0], noise[1], draws=400)
        covered += found["low"] <= 3.0 <= found["high"]
    assert 0.9 < covered / 200 < 0.99


def test_the_interval_is_repeatable():
    values = np.random.default_rng(1).uniform(1, 2, (2, 9))
    assert paired_ratio(*values) == paired_ratio(*values)


@pytest.mark.parametrize("lengths", [(3, 2), (0, 0)])
def test_values_without_partners_are_refused(lengths):
    with pytest.raises(ValueError, match="one of each per round"):
        paired_ratio(*(np.ones(n) for n in lengths))
