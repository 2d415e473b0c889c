"""What holds for every test: 4 virtual CPU devices, no implicit rank promotion, one compilation cache.

The processes that tests start inherit the environment that is set here.
"""

import os
from pathlib import Path

# Before jax is imported. `JAX_PLATFORMS=cuda,cpu make test` runs the same tests on a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
# Most of a test's time is compilation, of programs that run once.
os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("MPLBACKEND", "Agg")
# A training step takes some 20 s to compile; killed, resumed and launched runs compile the same one again.
# The key of an entry holds program, compiler, flags and CPU; `make clean` removes the cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax

jax.devices()  # reads the flags; the processes that tests start compile as a user's do
os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].split(" --xla_backend_optimization_level")[0]

jax.config.update("jax_numpy_rank_promotion", "raise")
