"""What holds for every test: 4 virtual CPU devices, no implicit rank promotion, one compilation cache.

The processes that tests start inherit the environment that is set here.
"""

import ctypes
import gc
import os
from pathlib import Path

from tests.processes import QUICK

# Before jax is imported. `JAX_PLATFORMS=cuda,cpu make test` runs the same tests on a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
os.environ["XLA_FLAGS"] += QUICK
os.environ.setdefault("MPLBACKEND", "Agg")
# A training step takes some seconds to compile; killed, resumed and launched runs compile the same one again.
# The key of an entry holds program, compiler, flags and CPU; `make clean` removes the cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
# What compiles faster takes as long to store.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax
import pytest

jax.devices()  # reads the flags; processes that tests start without tests/processes.py compile as a user's do
os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].removesuffix(QUICK)

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_finish():
    """A quarter of what tracing takes is Python's search for cycles, most of it among what stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def _shared_programs():
    from tests.shared import share_programs  # imports the library: not before its shapes are checked

    with pytest.MonkeyPatch.context() as patch:
        share_programs(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    """jax keeps every program it has compiled; a worker shall stay below 3 GB."""
    yield
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    if pages * os.sysconf("SC_PAGE_SIZE") > 1.5e9:
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory):
    """Workdirs of two runs of both stages of DefRec, of seeds 0 and 1. Copy what you change."""
    from smdsb_jax.run.loop import train_and_evaluate
    from tests.shared import made_once
    from tests.tiny_run import tiny_config

    def make(folder):
        for seed in range(2):
            assert train_and_evaluate(tiny_config(seed=seed), folder / f"seed={seed}").finished

    folder = made_once(tmp_path_factory, "tiny_runs", make)
    return [folder / f"seed={seed}" for seed in range(2)]


@pytest.fixture(scope="session")
def segmented_run(tmp_path_factory):
    """The workdir of a run of both stages on labels of points. Copy what you change."""
    from smdsb_jax.run.loop import train_and_evaluate
    from tests.shared import made_once
    from tests.tiny_run import tiny_segmentation

    def make(folder):
        assert train_and_evaluate(tiny_segmentation(), folder / "run").finished

    return made_once(tmp_path_factory, "segmented_run", make) / "run"


@pytest.fixture(scope="session")
def tiny_run(tiny_runs):
    """The workdir of seed 0."""
    return tiny_runs[0]


@pytest.fixture(scope="session")
def longer_runs(tmp_path_factory):
    """As `tiny_runs`, but of 40 steps of stage 1, seed 1 of that stage alone.

    After fewer steps most of so thin a network is dead in inference mode.
    """
    from smdsb_jax.run.loop import train_and_evaluate
    from tests.shared import made_once
    from tests.tiny_run import tiny_config

    def make(folder):
        for seed, stages in ((0, (1, 2)), (1, (1,))):
            config = tiny_config(
                seed=seed, stages=stages, stage1__steps=40, eval_every=20, keep_checkpoints=9
            )
            assert train_and_evaluate(config, folder / f"seed={seed}").finished

    folder = made_once(tmp_path_factory, "longer_runs", make)
    return [folder / f"seed={seed}" for seed in range(2)]
