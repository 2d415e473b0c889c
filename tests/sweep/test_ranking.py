import math
from pathlib import Path

import pytest

from smdsb_jax import resolve
from smdsb_jax.report.tables import Selected
from smdsb_jax.sweep import ranking
from smdsb_jax.sweep.grid import Run
from smdsb_jax.sweep.plan import Planned
from smdsb_jax.sweep.ranking import check_rank_by, found_in, rank, ranking_text
from tests.sweep.tiny_sweep import unpadded
from tests.tiny_run import tiny_config

CONFIG = resolve(tiny_config())


def planned(row, direction="c2s", seed=0, progress="done"):
    return Planned(Run(row, direction, seed, "", "", (), Path(f"{row},{direction},{seed}")), CONFIG, progress)


# snd and target accuracy at the headline's checkpoint of stage 2, and the number of predicted classes
RUNS = {
    ("a", 0): (1.0, 0.8, 7.0), ("a", 1): (2.0, 0.6, 7.0), ("b", 0): (3.0, 0.5, 7.0),
    ("b", 1): (2.0, 0.7, 7.0), ("c", 0): (9.0, 0.1, 1.0), ("c", 1): (9.0, 0.2, 7.0),
}  # fmt: skip


@pytest.fixture
def plan(monkeypatch):
    def rows(workdir):
        row, _, seed = workdir.name.split(",")
        value, right, classes = RUNS[row, int(seed)]
        scores = {"target_test/accuracy": right, "validator/snd": value, "classes/target": classes}
        scores |= {"classes/source": 7.0, "source_val/accuracy": 1 - right}
        other = {"target_test/accuracy": 0.99, "validator/snd": 0.0}
        return [
            Selected(1, "last", 3, other),
            Selected(2, "oracle", 3, other),
            Selected(2, "last", 6, scores),
        ]

    monkeypatch.setattr(ranking, "selected_rows", rows)
    return [planned(row, seed=seed) for row, seed in RUNS]


def test_rows_are_ranked_by_the_mean_and_collapsed_ones_come_last(plan):
    ranked, runs = rank(plan, "snd")
    assert runs == 2
    assert [tuple(row) for row in ranked] == [
        ("b", 2.5, pytest.approx(60), 0), ("a", 1.5, pytest.approx(70), 0), ("c", 9.0, pytest.approx(15), 1),
    ]  # fmt: skip
    text = unpadded(ranking_text(plan, "snd"))
    assert text.startswith("Rows by snd at their headline checkpoint, mean of 2 runs each:")
    assert "| b | 2.5000 | 60.0 | 10.0 |" in text and "| a | 1.5000 | 70.0 | 0.0 |" in text
    assert "| c (1 of 2 runs collapsed) | 9.0000 | 15.0 | 55.0 |" in text
    assert [row.row for row in rank(plan, "source_val")[0]] == ["b", "a", "c"]


def test_only_runs_that_every_row_has_are_compared(plan):
    plan[1] = plan[1]._replace(progress="started")
    ranked, runs = rank(plan, "snd")
    assert runs == 1 and [(row.row, row.value) for row in ranked] == [("b", 3.0), ("a", 1.0), ("c", 9.0)]
    plan[0] = plan[0]._replace(progress="new")
    assert "no direction and seed is finished in every row yet" in ranking_text(plan, "snd")


def test_what_a_row_does_not_record_is_refused():
    check_rank_by("snd", [planned("a")])
    check_rank_by("source_val", [planned("a")])
    with pytest.raises(ValueError, match="--rank_by 'dev': row 'a' records source_val, entropy, infomax,"):
        check_rank_by("dev", [planned("a")])


def test_of_a_run(tiny_run):
    found = found_in(tiny_run, "last", "snd")
    assert math.isfinite(found.value) and 0 <= found.score <= 100
    assert math.isnan(found_in(tiny_run, "last", "dev").value)
