"""Which sizes are tried."""

import pytest

from benchmarks import sweep as module
from benchmarks.contenders import Setting
from benchmarks.sweep import sweep, too_large

GIB = 2**30


def measured(*peaks, free=16):
    return [{"peak_bytes": peak * GIB, "free_bytes": free * GIB} for peak in peaks]


def test_memory_is_expected_to_grow_as_it_grew():
    assert too_large([]) == "" and too_large(measured(7)) == "" and too_large(measured(1, 3)) == ""
    assert "about 16 of 16 GiB" in too_large(measured(8))
    assert "about 27 of 16 GiB" in too_large(measured(3, 9))
    assert "the smaller size did not run (no)" in too_large([{"failed": "no"}])


def test_every_size_is_measured_or_told_why_not(monkeypatch):
    def measure_alone(name, setting, steps, cache):
        peak = setting.batch * setting.points / 1024 * GIB
        return {
            "precision": "float32", "free_bytes": 64 * GIB, "peak_bytes": peak, "alone": {"median": peak},
        }  # fmt: skip

    monkeypatch.setattr(module, "measure_alone", measure_alone)
    records = sweep(Setting(), ["jax mask shared"], 1)
    assert [(r["axis"], r["batch"], r["points"]) for r in records] == [
        *(("batch", size, 1024) for size in (8, 16, 32, 64)),
        *(("points", 8, size) for size in (512, 1024, 2048, 4096, 8192)),
    ]
    assert [bool(r.get("skipped")) for r in records] == [False, False, False, True, *[False] * 4, True]


def test_different_precisions_are_refused(monkeypatch):
    def measure_alone(name, setting, steps, cache):
        return (
            {"failed": "no"}
            if setting.batch > 1
            else {"precision": name, "free_bytes": 9, "peak_bytes": 1, "alone": {"median": 1}}
        )

    monkeypatch.setattr(module, "measure_alone", measure_alone)
    with pytest.raises(ValueError, match="differ in precision"):
        sweep(Setting(), ["a", "b"], 1, (1, 2), (32,))
