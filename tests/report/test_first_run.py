"""The bars of a first run, from the records in docs/first_run."""

import json
from pathlib import Path

import pytest

from smdsb_jax.config import resolve
from smdsb_jax.configs import embedded
from smdsb_jax.report.first_run import TABLE, bars, bounds
from smdsb_jax.report.tables import Selected

RUNS = Path(__file__).parents[2] / "docs" / "first_run"


def of_stage(stage, accuracy):
    return Selected(stage, "last", 400, {"target_test/accuracy": accuracy})


def test_the_table_is_that_of_the_records():
    """Source_only and oracle: mean and sample standard deviation of the last steps in the runs' records."""
    assert TABLE.read_bytes() == (RUNS / "table.csv").read_bytes()
    for method, found in zip(
        ("source_only", "oracle"), bounds(resolve(embedded.get_config("s2b"))), strict=True
    ):
        last = [
            100 * json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["target_test/accuracy"]
            for run in RUNS.glob(f"embedded,s2b,method={method},*")
        ]
        mean = sum(last) / 5
        std = (sum((a - mean) ** 2 for a in last) / 4) ** 0.5
        assert found.seeds == len(last) == 5
        assert (found.mean, found.std) == pytest.approx((mean, std), abs=1e-3)


def test_three_bars_in_proportion():
    lines = bars(resolve(embedded.get_config("s2c,seed=7")), [of_stage(1, 0.25), of_stage(2, 0.625)])
    assert [line.split("  ")[1].split(" █")[0].strip() for line in lines[1:]] == [
        "source only", "this run", "with target labels",
    ]  # fmt: skip
    assert [line.count("█") for line in lines[1:]] == [21, 25, 36] and "5 seeds" in lines[0]
    assert lines[1].endswith(" 51.7 ± 2.0") and lines[2].endswith(" 62.5")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.data.update(target="blend", source="catalog"),
        lambda c: c.data.update(fold=1),
        lambda c: c.encoder.update(embedding=64),
        lambda c: c.augment.update(jitter_std=0.5),
        lambda c: c.stage2.update(steps=5),
    ],
)
def test_no_bars_for_another_protocol(change):
    config = embedded.get_config("s2c")
    change(config)
    assert bars(resolve(config), [of_stage(2, 0.6)]) == []


def test_no_bars_without_a_score():
    assert bars(resolve(embedded.get_config("s2c")), []) == []
