import numpy as np
import pytest
import scipy.stats

from smdsb_jax.sweep.differences import difference_lines, differences, over_seeds, with_interval


def made():
    """Two hosts with and without something, two directions; a seed of one row is missing."""
    random, values = np.random.default_rng(0), {}
    for row, shift in (("a", 0.0), ("a+", 2.0), ("b", 5.0), ("b+", 6.0)):
        for direction in ("x", "y"):
            values[row, 1, "last", direction] = {s: [50 + shift + random.normal()] for s in range(3)}
    del values["a+", 1, "last", "x"][1]
    return values


def test_only_runs_of_the_same_direction_and_seed_are_subtracted():
    values = made()
    found = differences(values, [("a+", "a")], 1, ["x"])
    expected = {s: values["a+", 1, "last", "x"][s][0] - values["a", 1, "last", "x"][s][0] for s in (0, 2)}
    assert found == {seed: [value] for seed, value in expected.items()}
    assert differences(values, [("a+", "a")], 2, ["x"]) == {}
    both = differences(values, [("a+", "a"), ("b+", "b")], 1, ["x"])
    assert {seed: len(of_seed) for seed, of_seed in both.items()} == {0: 2, 1: 1, 2: 2}


def test_a_row_of_one_stage_is_held_against_both_stages_of_another():
    bound, run = {0: [50.0], 1: [52.0]}, {0: [60.0], 1: [63.0]}
    values = {("bound", 1, "last", "x"): bound, ("run", 1, "last", "x"): bound, ("run", 2, "last", "x"): run}
    assert differences(values, [("run", "bound")], 1, ["x"]) == {0: [0.0], 1: [0.0]}
    assert differences(values, [("run", "bound")], 2, ["x"]) == {0: [10.0], 1: [11.0]}
    assert differences(values, [("bound", "bound")], 2, ["x"]) == {}  # of stage 1 alone, once


def test_the_interval_is_that_of_a_paired_t_test():
    values = [1.0, 2.5, -0.5, 3.0]
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert with_interval(values) == f"+1.5 [{low:+.1f}, {high:+.1f}]"
    assert with_interval([-2.0]) == "-2.0" and with_interval([]) == "\N{EN DASH}"


def test_a_line_per_contrast_and_stage():
    values = made() | {("b", 2, "last", "x"): {0: [1.0]}, ("b+", 2, "last", "x"): {0: [4.0]}}
    contrasts = {"both": [("a+", "a"), ("b+", "b")], "none yet": [("c+", "c")]}
    lines = difference_lines(values, contrasts, ["x", "y"])
    assert [line[:2] for line in lines[1:]] == [["both", "1"], ["both", "2"]]
    assert lines[1][-1] == "11" and lines[2][2:] == ["+3.0", "\N{EN DASH}", "+3.0", "1"]
    pooled = differences(values, contrasts["both"], 1, ["x", "y"])
    assert lines[1][4] == over_seeds(pooled) == with_interval([np.mean(pooled[s]) for s in range(3)])
    assert float(lines[1][4].split()[0]) == pytest.approx(1.5, abs=1.5)


def test_the_interval_over_several_pairs_covers_the_truth_although_they_share_their_seeds():
    random, covered = np.random.default_rng(0), 0
    for _ in range(400):
        of_seed = random.normal(size=3)  # what a seed's draws do to every difference
        found = {s: list(of_seed[s] + 0.3 * random.normal(size=6)) for s in range(3)}
        low, high = over_seeds(found).partition("[")[2].rstrip("]").split(", ")
        covered += float(low) <= 0 <= float(high)
    assert 0.92 < covered / 400 < 0.98
