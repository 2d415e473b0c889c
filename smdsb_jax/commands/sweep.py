"""Run a table of trainings.

smdsb sweep --table tables:table1,data=embedded --workdir runs/table1

Finished runs are skipped and interrupted ones go on, so the same command continues a sweep. table.md,
table.csv, table.png and curves.png in the workdir are written anew after each run. Tables may share a
workdir, and runs.
"""

import sys
from pathlib import Path

import jax
from absl import flags

import smdsb_jax
from smdsb_jax.files import only_writer
from smdsb_jax.flags import CONFIGS, define_words, stop
from smdsb_jax.run.signals import stop_on_signal
from smdsb_jax.sweep.cluster import CLUSTERS, open_cluster
from smdsb_jax.sweep.dask_cluster import open_dask
from smdsb_jax.sweep.estimate import estimate
from smdsb_jax.sweep.grid import grid_runs, load_grid
from smdsb_jax.sweep.loop import Outcome, Start, here, sweep
from smdsb_jax.sweep.plan import check_data, make_plan, plan_text
from smdsb_jax.sweep.ranking import check_rank_by, ranking_text
from smdsb_jax.sweep.reverse import REVERSE, reverse_grid, reversed_runs

PACKAGE = Path(smdsb_jax.__file__).resolve().parent
TRAIN = PACKAGE / "__main__.py"  # by its path, so that it needs no installation
TABLE = flags.DEFINE_string("table", None, "File and argument, as configs/tables.py:table1,data=embedded.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs and of the table.")
SEEDS = flags.DEFINE_integer("seeds", None, "Runs of each cell; none: as the table says.", 1)
DIRECTIONS = define_words("directions", None, "Only these, as m2s,s2r.")
FIELD = flags.DEFINE_multi_string("field", [], "For every run, as data.root=PointDA_data. May be repeated.")
PARALLEL = flags.DEFINE_integer("parallel", None, "Runs at a time; none: 1, on Slurm and Dask all.", 1)
CLUSTER = flags.DEFINE_enum(
    "cluster", None, (*CLUSTERS, "dask"), "Jobs through submitit, or of --dask; none: one after the other."
)
DASK = flags.DEFINE_string("dask", None, "Address of a Dask scheduler, as tcp://host:8786.")
SLURM = define_words("slurm", [], "Options of sbatch, as partition=gpu,gres=gpu:1,time=1440 (minutes).")
RANK_BY = flags.DEFINE_string(
    "rank_by",
    None,
    "Which row one would take without target labels: by a recorded validator, source_val or reverse (which "
    "trains once more for each run).",
)
DRY_RUN = flags.DEFINE_boolean(
    "dry_run", False, "Print the plan alone, and how long it will take by steps that are measured now."
)


def main(_: list[str]) -> int:
    """Print the plan, run what is left, write the tables; 1 if a run failed, 130 or 143 if stopped."""
    if TABLE.value is None or WORKDIR.value is None:
        return stop("Give --table configs/tables.py:table1 and --workdir runs/table1 (or others).")
    if not DRY_RUN.value:
        jax.config.update("jax_platforms", "cpu")  # the GPU is for the runs
    grid, workdir = load_grid(TABLE.value, CONFIGS.parent), Path(WORKDIR.value).resolve()
    grid = grid._replace(
        fields=(*grid.fields, *FIELD.value),
        seeds=SEEDS.value or grid.seeds,
        directions=DIRECTIONS.value or grid.directions,
    )
    plan = make_plan(grid_runs(grid, workdir, CONFIGS.parent))
    if RANK_BY.value:
        check_rank_by(RANK_BY.value, plan)
    if (CLUSTER.value == "dask") != bool(DASK.value):
        return stop("--cluster=dask and --dask=tcp://host:8786 belong together.")
    parallel = PARALLEL.value or (len(plan) if CLUSTER.value in ("slurm", "dask") else 1)
    print(f"{grid.title}\n{plan_text(plan, parallel)}", flush=True)
    check_data(plan)
    if DRY_RUN.value:
        print(estimate(plan))
        return 0
    remedy = "Wait for its end, or take another --workdir."
    with only_writer(workdir, remedy), stop_on_signal("Stopping: what runs saves first.") as stopping:
        start = here(TRAIN, parallel, stopping)
        if DASK.value:
            start = Start(*open_dask(DASK.value, TRAIN))
        elif CLUSTER.value:
            start = Start(*open_cluster(CLUSTER.value, SLURM.value, workdir, PACKAGE.parent, TRAIN))
        outcome = sweep(grid, plan, workdir, start, parallel, stopping)
        if RANK_BY.value == REVERSE and not outcome.stopped:
            second = make_plan(reversed_runs(make_plan([planned.run for planned in plan])))
            print(f"\nReverse validation\n{plan_text(second, parallel)}", flush=True)
            back = sweep(reverse_grid(grid), second, workdir / REVERSE, start, parallel, stopping)
            outcome = Outcome(outcome.failed | back.failed, back.stopped)
    print("\n" + (workdir / "table.md").read_text(encoding="utf-8"))
    if RANK_BY.value:
        print(ranking_text(make_plan([planned.run for planned in plan]), RANK_BY.value))
    for folder, error in outcome.failed.items():
        print(f"{folder} failed: {error}", file=sys.stderr)
    if outcome.failed or outcome.stopped:
        print("The same command goes on from here.", file=sys.stderr)
    return 1 if outcome.failed else stopping.exit_status if outcome.stopped else 0
