from smdsb_jax.analysis.tables import mean_and_deviation, table


def test_the_deviation_is_that_of_a_sample_and_a_single_value_has_none():
    assert mean_and_deviation([1.0, 2.0, 6.0]) == "3.0 ± 2.6"  # sqrt(14 / 2); by 3 it would be 2.2
    assert mean_and_deviation([66.666]) == "66.7"


def test_a_row_per_arm_and_stage_in_the_order_they_came():
    found = {("b", 1, "c2s"): [3.0], ("b", 1, "c2b"): [1.0], ("b", 2, "c2b"): [2.0], ("b", 2, "c2s"): [4.0]}
    found |= {("a", 1, direction): [5.0, 7.0] for direction in ("c2b", "c2s")}
    assert table("accuracy, %", ["c2b", "c2s"], found).splitlines() == [
        "| accuracy, % | stage | c2b | c2s |",
        "|---|---|---|---|",
        "| b | 1 | 1.0 | 3.0 |",
        "| b | 2 | 2.0 | 4.0 |",
        "| a | 1 | 6.0 ± 1.4 | 6.0 ± 1.4 |",
    ]
