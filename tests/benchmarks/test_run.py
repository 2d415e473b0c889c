"""What is checked before anything is measured."""

from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.contenders import Setting
from benchmarks.run import Asked, batches, chosen


def asked(*names, **setting):
    return Asked(Setting(**setting), names, "", 3, Path("out"))


def test_batches_are_numbers():
    assert batches(["16", "32"]) == [16, 32]
    for words in ([], ["16", "x"], ["1"]):
        with pytest.raises(ValueError, match="--batch=.*as in --batch=16,32"):
            batches(words)


def test_cpus_compute_float32_only():
    with pytest.raises(ValueError, match="--precision=bfloat16 --device=cpu"):
        chosen(asked("jax mask shared", precision="bfloat16"))


def test_without_torch_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(run, "has_torch", lambda: False)
    names, baseline = chosen(asked())
    assert baseline == "jax mask shared" and not any("torch" in name for name in names)
    assert "pip install torch (its home page" in capsys.readouterr().err


def test_the_loop_is_ours(monkeypatch):
    monkeypatch.setattr(run, "has_torch", lambda: True)
    with pytest.raises(ValueError, match="--loop measures our training loop"):
        run.run_loop(asked("torch eager"))
