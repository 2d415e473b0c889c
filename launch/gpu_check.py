"""Check the library on a GPU: python launch/gpu_check.py, or `make gpu-check`.

Agreement of one step with the CPU, what TensorFloat-32 and bfloat16 change in it, throughput and memory of
all contenders in each precision, the time in kernels beside their bound, a training run. Prints and writes
all of it to --out; ends with 1 where the GPU computes something else or a part failed.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/, configs/ and smdsb_jax/
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the benchmark's processes need memory too

import jax
from absl import flags

from benchmarks import run
from benchmarks.contenders import Setting
from benchmarks.gpu_check import run_sections, sections_of
from benchmarks.processes import check_threads
from smdsb_jax.flags import define_words, run_command, stop

OUT = flags.DEFINE_string("out", "runs/gpu_check", "Folder of what is written.")
STEPS = flags.DEFINE_integer("steps", 300, "Steps of each stage of the training run.", 1)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Steps of each contender of the benchmark.", 1)
BATCH = define_words("batch", ["32"], "Clouds of each domain in the benchmark; one table each.")


def main(_: list[str]) -> int:
    """Run the checks in order; a disagreement does not stop the later ones."""
    batches = run.batches(BATCH.value)
    gpu = jax.local_devices()[0]
    if gpu.platform != "gpu":
        return stop(
            'jax sees no GPU, so nothing was checked. Where there is one: pip install "jax[cuda13]<0.13".'
        )
    out = Path(OUT.value)
    setting = Setting(batch=batches[0], device="gpu", threads=check_threads(None))
    sections = sections_of(gpu, setting, batches, ROUNDS.value, STEPS.value, out)
    good = run_sections(sections, out / "gpu_check.md", lambda text: print(text, flush=True))
    return 0 if good else 1


if __name__ == "__main__":
    run_command(main)
