from smdsb_jax.datasets.counts import Count, difference, is_complete, table


def test_missing_and_extra():
    assert (Count("d", "c", 5, 3).missing, Count("d", "c", 5, 3).extra) == (2, 0)
    assert (Count("d", "c", 5, 9).missing, Count("d", "c", 5, 9).extra) == (0, 4)


COUNTS = [Count("d train", "bed", 5, 3), Count("d train", "sofa", 1, 1), Count("d test", "bed", 2, 4)]


def test_table_has_a_block_per_group_with_its_total_and_marks_differences():
    rows = [line.split() for line in table(COUNTS).splitlines()]
    assert rows == [
        ["d", "train", "expected", "found", "missing", "extra"],
        ["bed", "5", "3", "2", "0", "<--"],
        ["sofa", "1", "1", "0", "0"],
        ["total", "6", "4", "2", "0", "<--"],
        ["d", "test", "expected", "found", "missing", "extra"],
        ["bed", "2", "4", "0", "2", "<--"],
        ["total", "2", "4", "0", "2", "<--"],
    ]


def test_what_is_missing_here_is_not_made_up_for_there():
    assert difference(COUNTS) == "2 objects missing, 2 extra" and not is_complete(COUNTS)
    assert difference(COUNTS[1:2]) == "0 objects missing, 0 extra" and is_complete(COUNTS[1:2])
