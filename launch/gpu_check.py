"""Check the library on a GPU: python launch/gpu_check.py, or `make gpu-check`.

Agreement of one step with the CPU, the benchmark, a training run with its rate and memory. Prints and writes
all of it to --out; ends with 1 where the GPU computes something else.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/, configs/ and smdsb_jax/
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the benchmark's processes need memory too

import jax
from absl import flags

import smdsb_jax
from benchmarks import run
from benchmarks.agreement import agreement_table, agrees, differences, on_device
from benchmarks.contenders import Setting
from benchmarks.machine import describe
from benchmarks.processes import check_threads
from benchmarks.report import gib, machine_lines
from configs import embedded
from smdsb_jax.files import whole_file
from smdsb_jax.flags import define_words, run_command, stop
from smdsb_jax.report.summary import write_summary

OUT = flags.DEFINE_string("out", "runs/gpu_check", "Folder of what is written.")
STEPS = flags.DEFINE_integer("steps", 300, "Steps of each stage of the training run.", 1)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Steps of each contender of the benchmark.", 1)
BATCH = define_words("batch", ["32"], "Clouds of each domain in the benchmark; one table each.")


def main(_: list[str]) -> int:
    """Run the checks in order; a disagreement does not stop the later ones."""
    gpu = jax.local_devices()[0]
    if gpu.platform != "gpu":
        return stop(
            'jax sees no GPU, so nothing was checked. Where there is one: pip install "jax[cuda13]<0.12".'
        )
    out = Path(OUT.value)
    setting = Setting(batch=32, device="gpu", threads=check_threads(None))
    found = differences(on_device(jax.local_devices(backend="cpu")[0], setting), on_device(gpu, setting))
    sections = [machine_lines(describe(), setting, gpu.device_kind), agreement_table(found)]
    print("\n\n".join(sections), flush=True)
    asked = run.Asked(setting, [], "", ROUNDS.value, out)
    sections.append(run.run_comparison(asked, run.batches(BATCH.value)))
    print(sections[-1], flush=True)
    config: Any = embedded.get_config("c2s,encoder=dgcnn")
    config.stage1.steps = config.stage2.steps = STEPS.value
    config.stage2.pretext = True
    begun = time.perf_counter()
    result = smdsb_jax.train_and_evaluate(config, out / "c2s")
    seconds = time.perf_counter() - begun
    peak = (gpu.memory_stats() or {}).get("peak_bytes_in_use", 0)
    sections.append(
        f"configs/embedded.py:c2s,encoder=dgcnn, {STEPS.value} steps a stage: {seconds:.0f} s, peak "
        f"{gib(peak)} GiB.\n"
        f"{write_summary(result.workdir)}"
    )
    print(sections[-1])
    with whole_file(out / "gpu_check.md") as part:
        part.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return 0 if all(agrees(name, value) for name, value in found.items()) else 1


if __name__ == "__main__":
    run_command(main)
