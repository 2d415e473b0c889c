"""Which statistic predicts gradient conflict?

smdsb analyze --workdir runs/s2c --out runs/lab

Examines the last checkpoint of each stage of one or several runs and writes a leaderboard with intervals,
the paper's figures 1 and 5, and report.html, which opens in a browser without a network; others by
--figure fig3 (docs/figures.md). --validators asks instead which score without target labels chooses best.
Your own statistic is a function of a module: PYTHONPATH=. … --statistic my_module:my_statistic. The
gradients are measured once; the same command with another statistic takes seconds.
"""

import glob
from pathlib import Path

from absl import flags

from smdsb_jax.analysis.examine import Settings
from smdsb_jax.analysis.figures import FIGURES
from smdsb_jax.analysis.laboratory import BY_DEFAULT, analyze
from smdsb_jax.analysis.regret import judge_runs
from smdsb_jax.files import only_writer
from smdsb_jax.flags import stop
from smdsb_jax.run.records import RECORDS

WORKDIR = flags.DEFINE_multi_string(
    "workdir", [], "Folder of a run, or a pattern in quotes, as 'runs/hosts/*seed=*'. May be repeated."
)
OUT = flags.DEFINE_string("out", "runs/laboratory", "Folder for the report and all it is made of.")
STATISTIC = flags.DEFINE_multi_string(
    "statistic", [], "Your own, as my_module:my_statistic, beside the built-in ones. May be repeated."
)
SAMPLES = flags.DEFINE_integer("samples", 256, "Of each domain, from its training split.", 1)
POOL = flags.DEFINE_integer(
    "pool",
    512,
    "Clouds of each domain for the mean gradients that samples are held against; others than the samples, "
    "where there are enough.",
    1,
)
SEED = flags.DEFINE_integer("seed", 0, "Which samples, and the randomness of their views.", 0)
EVERY = flags.DEFINE_boolean(
    "every", False, "Every checkpoint that a run has kept, not only each stage's last."
)
FIGURE = flags.DEFINE_multi_string(
    "figure",
    list(BY_DEFAULT),
    "Which to draw; or your own, as my_module:my_figure. May be repeated. Known:\n"
    + "\n".join(f"{name}: {drawing.title}" for name, drawing in FIGURES.items()),
)
KEEP_RATIO = flags.DEFINE_float("keep_ratio", 0.7, "Of the samples, for what selection is worth.", 0.01, 1.0)
ALLOW = flags.DEFINE_multi_string(
    "allow",
    [],
    "Code of your own that a run's configuration may import, as my_module:MyEncoder. May be repeated.",
)
ROOT = flags.DEFINE_string("root", None, "Folder of the data set, if it has moved.")
VALIDATORS = flags.DEFINE_boolean(
    "validators", False, "Instead: which validator chooses the best checkpoint, from the runs' records alone."
)


def main(_: list[str]) -> int:
    """Examine, print what the leaderboard says, write everything."""
    if not WORKDIR.value:
        return stop("Give --workdir, the folder of a run; may be repeated, or a pattern in quotes.")
    with only_writer(OUT.value, "Wait for its end, or take another --out."):
        if VALIDATORS.value:
            judge_runs([run for pattern in WORKDIR.value for run in _folders(pattern, RECORDS)], OUT.value)
            return 0
        analyze(
            [folder for pattern in WORKDIR.value for folder in _folders(pattern)],
            OUT.value,
            beside=STATISTIC.value,
            settings=Settings(SAMPLES.value, POOL.value, SEED.value),
            every=EVERY.value,
            pictures=FIGURE.value,
            keep_ratio=KEEP_RATIO.value,
            root=ROOT.value,
            allow=ALLOW.value,
            say=lambda line: print(line, flush=True),
        )
    return 0


def _folders(pattern: str, holds: str = "checkpoints") -> list[str]:
    """The runs among what a pattern matches, or what was given."""
    runs = [folder for folder in sorted(glob.glob(pattern)) if (Path(folder) / holds).exists()]
    return runs or [pattern]
