"""Processes: what is refused, what they inherit, how they fail."""

import os
import sys

import pytest

from benchmarks import processes
from benchmarks.contenders import Setting
from benchmarks.processes import (
    Failed,
    check_threads,
    environment_of,
    limited_to,
    open_progress,
    open_worker,
    require_one_precision,
    run_module,
)


def test_different_precisions_are_refused_by_name():
    require_one_precision({"a": "float32", "b": "float32"})
    with pytest.raises(ValueError, match=r"no comparison \(a: float32; b: tensorfloat32\).*--precision"):
        require_one_precision({"a": "float32", "b": "tensorfloat32"})


def test_threads_are_all_cores_or_fewer():
    cores = check_threads(None)
    assert cores == len(os.sched_getaffinity(0)) and check_threads(1) == 1
    with pytest.raises(ValueError, match=rf"--threads={cores + 1}: .*1 to {cores}"):
        check_threads(cores + 1)


def test_processes_get_their_cores_and_this_one_keeps_its_own():
    before = os.sched_getaffinity(0)
    with limited_to(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_the_environment_has_no_virtual_devices_and_no_spinning_threads(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_force_host_platform_device_count=4")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    found = environment_of("jax", Setting(device="gpu", threads=3), "cache")
    assert found["XLA_FLAGS"] == "--xla_a=1" and "OMP_WAIT_POLICY" not in found
    assert found["JAX_PLATFORMS"] == "cuda,cpu" and found["OMP_NUM_THREADS"] == "3"
    assert environment_of("torch", Setting(device="gpu"), "cache")["JAX_PLATFORMS"] == "cpu"


def test_a_contender_that_cannot_run_says_why(tmp_path):
    # 20 neighbors among 4 points
    with (
        pytest.raises(
            Failed, match=r"jax mask shared: ended with 1. .*neighbors among config.data.points = 4"
        ),
        open_worker("jax mask shared", Setting(batch=2, points=4), str(tmp_path)),
    ):
        pass


def test_a_killed_contender_is_told_from_a_failed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.sys, "executable", write_script(tmp_path, "kill -9 $$"))
    with (
        pytest.raises(Failed, match="killed, most likely for want of memory"),
        open_worker("jax mask shared", Setting(), str(tmp_path)),
    ):
        pass


def write_script(folder, text):
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_module_answers_with_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", write_script(tmp_path, "echo noise; echo '{\"a\": 1}'"))
    assert run_module("any", Setting(), {}) == {"a": 1}
    monkeypatch.setattr(sys, "executable", write_script(tmp_path, "exit 3"))
    with pytest.raises(ValueError, match="python -m any ended with 3"):
        run_module("any", Setting(), {})


def test_progress_estimates_the_time_left(monkeypatch, capsys):
    now = iter([0.0, 30.0, 60.0])
    monkeypatch.setattr(processes.time, "monotonic", lambda: next(now))
    tick = open_progress(5)
    tick("one")
    tick("two")
    said = capsys.readouterr().err.splitlines()
    assert said == ["[1/5, about 2:00 left] one", "[2/5, about 1:30 left] two"]
