import csv
import statistics
from pathlib import Path

import pytest

from smdsb_jax.scores import SELECT_BY
from smdsb_jax.sweep.grid import Grid, Run
from smdsb_jax.sweep.published import Published
from smdsb_jax.sweep.table import (
    Results,
    add,
    cell_values,
    choices_of,
    csv_text,
    markdown,
    mean_and_deviation,
    row_names,
    write_tables,
)
from tests.sweep.tiny_sweep import tiny_grid, unpadded

PRINTED = {
    "first": Published({"c2b": 50.0, "c2s": 70.0}, 66.0),
    "other": Published({"c2b": 1.0, "c2s": 2.0}, 1.5),
}


def found_of(*runs):
    """(row, direction, seed, accuracy of stage 1): stage 2 has 10 more, other selections 1 and 2 more."""
    found = Results()
    for row, direction, seed, value in runs:
        values = {
            (row, stage, selection): [value + 10 * (stage - 1) + i]
            for stage in (1, 2)
            for i, selection in enumerate(SELECT_BY)
        }
        add(found, Run(row, direction, seed, "", "", (), None), values)
    return found


FOUND = found_of(("first", "c2b", 0, 10.0), ("first", "c2s", 0, 20.0), ("first", "c2b", 1, 16.0))


def part(text, title):
    section = next(s for s in text.split("## Checkpoint: ") if s.startswith(title))
    rows = [line[2:-2].split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert len({tuple(map(len, row)) for row in rows}) == 1  # it lines up as plain text
    return [[cell.strip() for cell in row] for row in rows if not set(row[0]) <= {"-"}]


def test_the_deviation_is_that_of_a_sample_and_a_single_value_has_none():
    assert mean_and_deviation([1.0, 2.0, 6.0]) == "3.0 ± 2.6"  # sqrt(14 / 2); by 3 it would be 2.2
    assert mean_and_deviation([66.666]) == "66.7"
    assert mean_and_deviation([]) == "\u2013"


def test_the_average_is_of_the_seeds_that_have_every_direction():
    assert cell_values(FOUND, ("first", 1, "last", "c2b"), ["c2b", "c2s"]) == [10, 16]
    assert cell_values(FOUND, ("first", 1, "last", "average"), ["c2b", "c2s"]) == [15]  # not (13 + 20) / 2
    assert cell_values(FOUND, ("second", 1, "last", "average"), ["c2b", "c2s"]) == []


def test_stages_and_missing_rows_apart():
    names = row_names(tiny_grid(), FOUND, ["first", "second"], "last")
    assert names == [("first", 1), ("first", 2), ("second", None)]


def test_the_markdown_has_a_part_per_selection_and_printed_values_in_the_headline_alone():
    text = markdown(tiny_grid(published=PRINTED), FOUND, ["first", "second"], 8)
    assert "3 of 8 runs are done" in text
    dash = "\u2013"
    assert part(text, "last step (headline)") == [
        ["row", "stage", "c2b", "c2s", "average", "runs"],
        ["first", "1", "13.0 ± 4.2", "20.0", "15.0", "3/4"],
        ["first", "2", "23.0 ± 4.2", "30.0", "25.0", "3/4"],
        ["*first, published*", "", "50.0", "70.0", "66.0 (recomputed 60.00)", ""],
        ["second", dash, dash, dash, dash, "0/4"],
        ["*other, published*", "", "1.0", "2.0", "1.5", ""],
    ]
    source, oracle = (
        part(text, "best on source"),
        part(text, "oracle: best on target test; uses target labels"),
    )
    assert [row[2] for row in source] == ["c2b", "14.0 ± 4.2", "24.0 ± 4.2", dash]
    assert [row[2] for row in oracle] == ["c2b", "15.0 ± 4.2", "25.0 ± 4.2", dash]


def test_one_direction_has_no_average_nor_a_printed_one():
    grid = tiny_grid(published=PRINTED, directions=("c2b",))
    text = markdown(grid, FOUND, ["first"], 4)
    assert part(text, "last")[-1] == ["*other, published*", "", "1.0", ""] and "average" not in text


def test_the_files_hold_the_same_numbers(tmp_path):
    write_tables(tiny_grid(published=PRINTED), FOUND, 8, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv", "table.md", "table.png"]
    lines = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    cells = {(x["row"], x["stage"], x["checkpoint"], x["direction"]): x for x in lines}
    cell = cells["first", "2", "oracle", "c2b"]
    assert (float(cell["mean"]), int(cell["count"])) == (25, 2)
    assert float(cell["std"]) == pytest.approx(statistics.stdev([22, 28]), abs=1e-4)
    assert cells["first", "1", "last", "c2s"]["std"] == ""  # one seed
    assert (
        cells["second", "", "last", "c2b"]["mean"] == ""
        and cells["second", "", "last", "c2b"]["count"] == "0"
    )
    assert cells["first", "", "published", "average"]["mean"] == "66.0"
    assert float(cells["first", "", "published", "average_recomputed"]["mean"]) == 60


def test_contrasts_are_shown_with_their_interval(tmp_path):
    contrasts = {"b minus a": [("b", "a")]}
    grid, found = Grid("T", "c.py", {"a": [], "b": []}, ("x",), contrasts=contrasts), Results()
    for seed in range(3):
        for row, value in (("a", 40.0 + seed), ("b", 41.0 + seed)):
            run = Run(row, "x", seed, "c.py", "", (), tmp_path)
            add(found, run, {(row, 1, "last"): [value]})
    text = unpadded(markdown(grid, found, ["a", "b"], 6))
    assert (
        "## Paired differences" in text
        and "| b minus a | 1 | +1.0 [+1.0, +1.0] | +1.0 [+1.0, +1.0] | 3 |" in text
    )
    assert "Paired" not in markdown(grid._replace(contrasts={}), found, ["a", "b"], 6)


def test_a_validator_that_chooses_has_a_part_of_its_own_and_is_the_headline():
    assert list(choices_of(tiny_grid())) == list(SELECT_BY)
    found = Results()
    run = Run("first", "c2b", 0, "", "", (), Path())
    add(found, run, {("first", 2, "snd"): [70.0], ("first", 2, "last"): [60.0]})
    text = markdown(tiny_grid(select_by="snd"), found, ["first"], 4)
    own, last = text.index("## Checkpoint: best by snd (headline)"), text.index("## Checkpoint: last step")
    assert own < text.index("70.0") < last < text.index("60.0")
    assert "first,2,snd,c2b,70.0000" in csv_text(tiny_grid(select_by="snd"), found, ["first"])
