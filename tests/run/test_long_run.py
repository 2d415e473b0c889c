import os
import time
from pathlib import Path

import numpy as np

from smdsb_jax.run import loop
from smdsb_jax.run.loop import Watch, train_and_evaluate
from tests.shared import step_without_network
from tests.tiers import exhaustive
from tests.tiny_run import tiny_config

EVERY = 500  # steps between looks, and between checkpoints


def looks():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    opened, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    return pages * os.sysconf("SC_PAGE_SIZE"), opened, threads, time.perf_counter()


@exhaustive
def test_twenty_thousand_steps_need_no_more_than_the_first_thousands(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    seen = []

    def watcher(state, batch, scores):
        seen.append(looks())
        return {}

    config = tiny_config(stages=(1,), stage1__steps=20_000, eval_every=EVERY, log_every=50)
    assert train_and_evaluate(config, tmp_path / "run", Watch(EVERY, lambda parts: watcher)).finished
    memory, opened, threads, when = np.array(seen[10:]).T  # what is made once has been made
    assert len(seen) == 40
    assert np.polyfit(np.arange(30), memory, 1)[0] * 30 < 20e6  # bytes over 15,000 steps
    assert opened[-10:].max() <= opened[:10].max() and threads[-10:].max() <= threads[:10].max()
    seconds = np.diff(when)
    assert np.median(seconds[-10:]) < 1.5 * np.median(seconds[:10])
    kept = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept[-1] == 20_000 and len(kept) <= config.keep_checkpoints + 3  # and the best by each choice
