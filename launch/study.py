"""The small table of the README: python launch/study.py --workdir runs/study (20 minutes on 2 CPU cores).

source_only, DefRec and DefRec + SM-DSB at budget=study, two directions, three seeds. Interrupted, it goes on.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # smdsb_jax/, if not installed

import numpy as np
from absl import app, flags, logging

from smdsb_jax.flags import parse_flags, user_errors
from smdsb_jax.summary import selected_rows

WORKDIR = flags.DEFINE_string("workdir", "runs/study", "Folder of the runs.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each cell.", 1)
DIRECTIONS = flags.DEFINE_list("directions", ["c2b", "c2s"], "Of configs/embedded.py.")
METHODS = {
    "source_only": "method=source_only",
    "DefRec": "method=defrec,selection=none",
    "DefRec + SM-DSB": "method=defrec,selection=skewness",
}
LAUNCH = Path(__file__).parent


def main(_: list[str]) -> int:
    """Run what is missing, then print mean ± standard deviation of the last step's target test accuracy."""
    rows: dict[tuple[str, int, str], list[float]] = {}
    for seed in range(SEEDS.value):
        for direction in DIRECTIONS.value:
            for method, options in METHODS.items():
                workdir = Path(WORKDIR.value) / f"{direction},{options},seed={seed}"
                config = f"{LAUNCH.parent}/configs/embedded.py:{direction},{options},budget=study,seed={seed}"
                command = [sys.executable, LAUNCH / "train.py", "--config", config, "--workdir", workdir]
                print(f"{workdir.name} …", flush=True)
                subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
                for row in selected_rows(workdir):
                    if row.selection == "last":
                        rows.setdefault((method, row.stage, direction), []).append(100 * row.target_test)
    print(f"\n| last step, target test, % | stage | {' | '.join(DIRECTIONS.value)} |")
    print("|---|---|" + "---|" * len(DIRECTIONS.value))
    for method, stage in dict.fromkeys((m, s) for m, s, _ in rows):
        cells = (np.array(rows[method, stage, direction]) for direction in DIRECTIONS.value)
        print(
            f"| {method} | {stage} | " + " | ".join(f"{c.mean():.1f} ± {c.std():.1f}" for c in cells) + " |"
        )
    return 0


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(user_errors(main), flags_parser=parse_flags)
