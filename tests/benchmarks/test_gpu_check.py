"""The sections of `make gpu-check`, on CPU devices."""

from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.contenders import Setting
from benchmarks.gpu_check import Found, run_sections, sections_of

TINY = Setting("pointnet", batch=4, points=32, device="gpu")


@pytest.fixture
def computed(monkeypatch):
    """Steps of a device that rounds: by 1e-6 in float32, by 0.01 with faster products."""

    def on_device(device, setting):
        error = (device != "cpu") * {"float32": 1e-6, "tensorfloat32": 0.01, "bfloat16": 0.1}[
            setting.precision
        ]
        return {"losses": np.array([1.0 + error]), "kept": np.array([True, False])}

    monkeypatch.setattr(gpu_check, "on_device", on_device)
    monkeypatch.setattr(jax, "local_devices", lambda backend: ["cpu"])


class Card:
    device_kind = "a card"

    def memory_stats(self):
        return {"peak_bytes_in_use": 2**31}


def test_every_part_is_run_in_its_precision_and_folder(computed, monkeypatch, tmp_path):
    asked = []

    def comparison(of, batches):
        asked.append((of.setting.precision, of.out.name, batches))
        return f"table of {of.setting.precision}"

    monkeypatch.setattr(gpu_check.run, "run_comparison", comparison)
    monkeypatch.setattr(gpu_check.run, "run_ledger", lambda of: f"ledger of {of.setting.precision}")
    trained = lambda config, workdir: type("R", (), {"workdir": (config.stage2.steps, workdir)})  # noqa: E731
    monkeypatch.setattr(gpu_check.smdsb_jax, "train_and_evaluate", trained)
    monkeypatch.setattr(gpu_check, "write_summary", lambda of: f"summary of {of}")
    said: list[str] = []
    sections = sections_of(Card(), TINY, [4], 2, 30, tmp_path)
    assert run_sections(sections, tmp_path / "out" / "gpu_check.md", said.append)
    assert asked == [(p, p, [4]) for p in ("float32", "tensorfloat32", "bfloat16")]
    written = (tmp_path / "out" / "gpu_check.md").read_text()
    assert "".join(said).split() == written.split()
    for words in ("| losses | 1.0e-06 ", "a card, ", "| losses | 1.0e-02 | 1.0e-01 |", "ledger of float32"):
        assert words in " ".join(written.split()), words
    assert f"summary of (30, {Path(tmp_path / 'c2s')!r})" in written and "peak 2.00 GiB" in written


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path):
    def fails():
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    said: list[str] = []
    sections = {"one": fails, "two": lambda: Found("fine")}
    assert not run_sections(sections, tmp_path / "gpu_check.md", said.append)
    assert "**Failed**: RuntimeError: RESOURCE_EXHAUSTED" in said[0] and "fine" in said[1]
    assert not run_sections({"differs": lambda: Found("NO", False)}, tmp_path / "x.md", said.append)


def test_a_gpu_that_computes_something_else_is_no_good(computed, monkeypatch):
    found = sections_of(Card(), TINY, [4], 2, 30, Path())["Agreement of a step with the CPU"]
    assert found().good
    monkeypatch.setattr(gpu_check, "agrees", lambda name, value: value < 1e-7)
    assert not found().good
