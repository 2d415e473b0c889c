"""The idle share of a training loop."""

import time

from benchmarks import loop
from benchmarks.contenders import Setting
from benchmarks.loop import idle_share, loop_table


def test_a_slow_host_shows_as_idle(monkeypatch):
    real = loop.sample_batch

    def slow(*args, **kwargs):
        time.sleep(0.05)
        return real(*args, **kwargs)

    # a step that compiles at once and takes no time
    monkeypatch.setattr(
        loop, "train_step", lambda parts, state, batch: (state.replace(step=state.step + 1), {})
    )
    monkeypatch.setattr(loop, "sample_batch", slow)
    record = idle_share("jax no selection", Setting("pointnet", batch=4, points=32), steps=3, rounds=2)
    assert len(record["loop"]) == len(record["ready"]) == 2 and min(record["loop"]) > 0.15
    assert 0.5 < record["idle_share"]["median"] < 1


def test_the_table_is_per_step():
    share = {"median": 0.015, "low": 0.01, "high": 0.02}
    text = loop_table({"contender": "a", "steps": 5, "loop": [5.0], "ready": [4.0], "idle_share": share})
    cells = [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]]
    assert cells == ["a", "1.00", "0.800", "1.50 [1.00, 2.00]"]
