"""Train both stages; the same command resumes an interrupted run.

smdsb train --config embedded:s2c --workdir runs/s2c

A configuration is a file, as configs/embedded.py:s2c, or the name of one that comes with the package. Exits
with 130 or 143 where Ctrl-C or SIGTERM stopped it; it has saved then.
"""

from absl import flags
from ml_collections import config_flags

import smdsb_jax
from smdsb_jax.analysis.watch import watch_gradients
from smdsb_jax.flags import stop
from smdsb_jax.registry import foreign_names
from smdsb_jax.report.summary import write_summary
from smdsb_jax.run import hosts

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file and its argument, as configs/pointda.py:m2s,encoder=pointnet."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; what it holds is resumed.")
WATCH = flags.DEFINE_integer(
    "watch",
    0,
    "Every so many steps record how the gradients agree, also with that of the target's true labels, which "
    "nothing else sees; 0: never.",
    0,
)
FROM_STEP = flags.DEFINE_integer(
    "from_step", None, "Go on from the checkpoint of this step; later ones are moved to WORKDIR/set_aside.", 0
)

WAIT = flags.DEFINE_integer(
    "wait_for_hosts", 300, "Seconds to wait for the other processes of a job on several hosts.", 1
)


def main(_: list[str]) -> int:
    """Train, then show what came out."""
    if CONFIG.value is None or WORKDIR.value is None:
        return stop("Give --config configs/embedded.py:s2c and --workdir runs/s2c (or others).")
    with hosts.joined(WAIT.value):  # before anything asks for a device
        config = smdsb_jax.resolve(CONFIG.value)
        watch = watch_gradients(config, WATCH.value) if WATCH.value else None
        result = smdsb_jax.train_and_evaluate(CONFIG.value, WORKDIR.value, watch, FROM_STEP.value)
        if result.finished:  # each process, since they open the checkpoints together
            print(write_summary(result.workdir, foreign_names(CONFIG.value).values()))
    return result.exit_status
