"""Our step beside PyTorch's: python launch/benchmark.py (8 minutes for batch 16 on 2 CPU cores).

Prints a table and writes it, the raw numbers and a picture to --out. --sweep, --kernels, --methods,
--loop, --ledger, --conflict and --train measure something else instead; several of them may be given.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ and, if not installed, smdsb_jax/

from absl import flags

from benchmarks import run
from benchmarks.contenders import CONTENDERS, Setting
from benchmarks.methods import TASKS
from benchmarks.processes import check_threads
from benchmarks.sweep import AXES
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.flags import define_words, run_command

names = ", ".join(CONTENDERS)
CONTENDERS_FLAG = define_words(
    "contenders", [], f"Which to compare, of: {names}; if not given, some of them."
)
BASELINE = flags.DEFINE_string("baseline", "", "Ratios are to this one; torch eager if not given.")
BATCH = define_words("batch", ["16", "32"], "Clouds of each domain; one table each.")
POINTS = flags.DEFINE_integer("points", 1024, "Points of a cloud.", 2)
ENCODER = flags.DEFINE_enum("encoder", "dgcnn", list(ENCODERS), "Encoder, at its published width.")
TNET = flags.DEFINE_boolean("tnet", False, "With the encoder's T-Nets.")
STAGE = flags.DEFINE_integer("stage", 1, "2: with pseudo-labels of the target.", 1, 2)
ROUNDS = flags.DEFINE_integer("rounds", 7, "Steps of each contender; those of a sweep take at most 3.", 1)
WARMUP = flags.DEFINE_integer("warmup", 1, "Steps after the first that are not counted.", 0)
THREADS = flags.DEFINE_integer("threads", None, "CPU cores of each process; all if not given.")
PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "tensorfloat32", "bfloat16"],
    "Of matrix products; CPUs: float32 only.",
)
DEVICE = flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "What computes.")
OUT = flags.DEFINE_string("out", "runs/benchmark", "Folder for tables, JSON and pictures.")
SWEEP = define_words(
    "sweep", [], f"How time and memory grow, along: {', '.join(AXES)}; some of them, as --sweep=batch,points."
)
KERNELS = flags.DEFINE_boolean("kernels", False, "Single kernels beside the plain formula.")
METHODS = flags.DEFINE_boolean("methods", False, "The step of every method beside source_only's.")
TASK = flags.DEFINE_enum("task", "classification", list(TASKS), "Of --methods.")
LOOP = flags.DEFINE_boolean("loop", False, "The share of the training loop in which the device waits.")
LEDGER = flags.DEFINE_boolean("ledger", False, "Each operation of our step beside what it must take.")
CONFLICT = flags.DEFINE_boolean(
    "conflict", False, "Per-sample gradient agreement beside loops of backward passes."
)
SAMPLES = flags.DEFINE_integer("samples", 1000, "Of --conflict, in all rounds together.", 1)
TRAIN = flags.DEFINE_integer(
    "train", 0, "Train for so many steps from the same weights on the same clouds.", 0
)
SEEDS = flags.DEFINE_integer("seeds", 3, "Of --train.", 1)


def main(_: list[str]) -> int:
    """Measure what is asked."""
    batches = run.batches(BATCH.value)
    setting = Setting(
        ENCODER.value, TNET.value, STAGE.value, batches[0], POINTS.value, PRECISION.value, DEVICE.value,
        check_threads(THREADS.value), WARMUP.value,
    )  # fmt: skip
    asked = run.Asked(setting, CONTENDERS_FLAG.value, BASELINE.value, ROUNDS.value, Path(OUT.value))
    if SWEEP.value:
        print(run.run_sweep(asked, SWEEP.value))
    if KERNELS.value:
        print(run.run_kernels(asked))
    if METHODS.value:
        print(run.run_methods(asked, TASK.value))
    if LOOP.value:
        print(run.run_loop(asked))
    if LEDGER.value:
        print(run.run_ledger(asked))
    if CONFLICT.value:
        print(run.run_conflict(asked, SAMPLES.value))
    if TRAIN.value:
        print(run.run_training(asked, TRAIN.value, SEEDS.value))
    others = (SWEEP, KERNELS, METHODS, LOOP, LEDGER, CONFLICT, TRAIN)
    if not any(flag.value for flag in others):
        print(run.run_comparison(asked, batches))
    return 0


if __name__ == "__main__":
    run_command(main, compiles=False)
