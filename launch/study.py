"""The small tables of the README: python launch/study.py --workdir runs/study (2 CPU cores: 12 minutes).

--table=methods: source_only, DefRec and DefRec + SM-DSB. --table=selection: DefRec + SM-DSB, selecting in
other ways. --table=agreement: how far the two saliency modes keep the same source samples after its stage 1.
All at budget=study, two directions, three seeds. They share runs; interrupted, a study goes on.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # smdsb_jax/, if not installed

from absl import app, flags, logging

from smdsb_jax.analysis import tables
from smdsb_jax.flags import parse_flags, user_errors

SMDSB, APART = "method=defrec,selection=skewness", "selection.scope=per_domain"
GATHER, SHARED = "selection.execution=gather", "saliency.mode=shared"
# Row → options of configs/embedded.py, then fields of the configuration.
METHODS = {
    "source_only": ["method=source_only"],
    "DefRec": ["method=defrec,selection=none"],
    "DefRec + SM-DSB": [SMDSB],
}
SELECTION = {
    "mask, pooled, per_sample": [SMDSB],
    "mask, per_domain, per_sample": [SMDSB, APART],
    "gather, per_domain, per_sample": [SMDSB, APART, GATHER],
    "mask, pooled, shared": [SMDSB, SHARED],
    "gather, per_domain, shared": [SMDSB, APART, GATHER, SHARED],
}
TABLES = {
    "methods": ("last step, target test, %", METHODS, tables.accuracies),
    "selection": ("last step, target test, %", SELECTION, tables.accuracies),
    "agreement": ("last step, source mini-batches, %", {"": [SMDSB]}, tables.agreement),
}
TABLE = flags.DEFINE_enum("table", "methods", list(TABLES), "Which one.")
WORKDIR = flags.DEFINE_string("workdir", "runs/study", "Folder of the runs.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each cell.", 1)
DIRECTIONS = flags.DEFINE_list("directions", ["c2b", "c2s"], "Of configs/embedded.py.")
LAUNCH = Path(__file__).parent


def main(_: list[str]) -> int:
    """Run what is missing, then print mean ± sample standard deviation over seeds (and mini-batches)."""
    title, rows, measure = TABLES[TABLE.value]
    found: dict[tuple[str, int, str], list[float]] = {}
    for seed in range(SEEDS.value):
        for direction in DIRECTIONS.value:
            for name, options in rows.items():
                for row, values in measure(name, train(direction, options, seed)).items():
                    found.setdefault((*row, direction), []).extend(values)
    print(f"\n{tables.table(title, DIRECTIONS.value, found)}")
    return 0


def train(direction: str, options: list[str], seed: int) -> Path:
    """The folder of a run, trained unless it is finished.

    Raises:
      ValueError: it failed; names the run, with the last line of its error.
    """
    arm, *fields = options
    workdir = Path(WORKDIR.value, ",".join([direction, *options, f"seed={seed}"]))
    config = f"{LAUNCH.parent}/configs/embedded.py:{direction},{arm},budget=study,seed={seed}"
    command = [sys.executable, LAUNCH / "train.py", "--config", config, "--workdir", workdir]
    command += [f"--config.{field}" for field in fields]
    print(f"{workdir.name} …", flush=True)
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        error = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise ValueError(f"The run {workdir} failed: {error} (The same command goes on from here.)")
    return workdir


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(user_errors(main), flags_parser=parse_flags)
