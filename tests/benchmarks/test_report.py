"""Tables and pictures of made-up measurements."""

import json

import numpy as np
import pytest

from benchmarks import machine, report
from benchmarks.contenders import Setting
from benchmarks.ratios import paired_ratio, spread

GIB = 2**30


def contender(seconds, baseline, compiled):
    cold = {"first_step": 6.0} | ({"trace": 0.5, "compile": 4.0} if compiled else {})
    return {
        "interleaved": spread(seconds), "alone": spread(seconds), "seconds": seconds,
        "ratio": paired_ratio(baseline, seconds), "clouds_per_second": 32 / 1.5, "cold": cold,
        "cached": {"first_step": 1.25, "compile": 0.25}, "peak_bytes": 2 * GIB,
        "peak_bytes_cached": 1.5 * GIB, "cores_while_idle": 0.0,
    }  # fmt: skip


@pytest.fixture
def case():
    eager = [15.0, 15.0, 15.0]
    contenders = {
        "torch eager": contender(eager, eager, False),
        "jax mask shared": contender([1.0, 1.5, 3.0], eager, True),
    }
    failed = {"torch compiled": "torch compiled: no C++ compiler."}
    return {
        "setting": Setting()._asdict(),
        "baseline": "torch eager",
        "contenders": contenders,
        "failed": failed,
    }


def test_the_table_has_a_row_per_contender_and_says_what_failed(case):
    text = report.comparison_table(case)
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    assert len({len(row) for row in rows}) == 1
    assert rows[3] == [
        "jax mask shared", "1.50", "1.00 to 3.00", "1.25 to 2.25", "1.50", "21.3", "10.0 [5.00, 15.0]",
        "2.00, 1.50", "6.00, 1.25",
    ]  # fmt: skip
    assert "times faster than torch eager [95 %]" in rows[0]
    assert (
        "jax mask shared: traced and lowered in 0.500 s, compiled in 4.00 s, from the cache in 0.250 s."
        in text
    )
    assert "Not measured: torch compiled: no C++ compiler." in text
    assert "while waiting" not in text
    case["contenders"]["torch eager"]["cores_while_idle"] = 1.0
    assert "while waiting, which slow the others: torch eager (1.00)" in report.comparison_table(case)


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.00123456, "0.00123"), (1.5, "1.50"), (99.94, "99.9"), (99.96, "100"), (1234.5, "1234")],
)
def test_three_digits(value, text):
    assert report.digits(value) == text


def test_the_header_names_machine_versions_and_setting():
    found = machine.describe()
    text = report.header(found, Setting("dgcnn", tnet=True, threads=2), "H200")
    for word in (
        "dgcnn with T-Net",
        "H200, 2 threads, products in float32",
        "jaxlib ",
        "torch ",
        "revision ",
    ):
        assert word in text
    assert (report.BUSY in text) == (found["load"] > found["cores"] / 4)
    assert report.BUSY in report.header(found | {"load": 9.0 * found["cores"]}, Setting(), "cpu")
    assert found["memory_bytes"] >= machine.free_bytes() > 0
    assert "/home" not in json.dumps(found)


def test_everything_is_written(case, tmp_path):
    runs = [
        {
            "contender": name, "evaluated": [2, 4], "target_accuracy": [0.1, 0.2 + seed / 10],
            "metrics": [{"loss/class": 1 / (i + 1), "loss/pretext": 2.0} for i in range(4)],
        }
        for name in case["contenders"] for seed in range(2)
    ]  # fmt: skip
    figures = [
        report.comparison_picture([case, case]),
        report.training_picture(runs),
    ]
    for i, figure in enumerate(figures):
        said = report.write(tmp_path / "out", f"table{i}", "text", {"a": 1}, figure)
        assert said.splitlines()[0] == "text" and str(tmp_path / "out" / f"table{i}.png") in said
        assert (tmp_path / "out" / f"table{i}.png").stat().st_size > 5000
    assert json.loads((tmp_path / "out" / "table0.json").read_text()) == {"a": 1}


def test_running_mean():
    np.testing.assert_allclose(report.smooth([4, 2, 6, 1], window=2), [4, 3, 4, 3.5])
