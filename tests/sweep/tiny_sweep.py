"""A table of tiny runs that all have one configuration, and what stands in for training them."""

import re
from pathlib import Path

from smdsb_jax.sweep.grid import Grid

ROOT = Path(__file__).parents[2]
CONFIG = """
import sys
sys.path.insert(0, {root!r})
from smdsb_jax.config import parse_arg
from tests.tiny_run import tiny_config

def get_config(arg="c2b"):
    a = parse_arg(arg, direction="c2b", row="a", encoder="", keep=0.7)
    if a.direction not in ("c2b", "c2s"):
        raise ValueError("config option direction = " + repr(a.direction) + " is not known.")
    return tiny_config(selection__keep_ratio=a.keep)
"""
TABLE = """
from smdsb_jax.sweep.grid import Grid
from smdsb_jax.sweep.published import Published

def get_grid(arg=""):
    rows = {"first": ["row=a"], "second": ["row=b", *(arg.split(";") if arg else [])]}
    printed = {"first": Published({"c2b": 50.0, "c2s": 70.0}, 66.0)}
    return Grid("Tiny", "configs/tiny.py", rows, ("c2b", "c2s"), seeds=2, published=printed)
"""
# launch/sweep.py, whose trainings the stand-in does
SWEEP = """
import pathlib, sys
sys.path.insert(0, {root!r})
from smdsb_jax.commands import run, sweep
sweep.TRAIN = pathlib.Path(__file__).with_name("train.py")
run("sweep", sys.argv)
"""
# takes the place of a training: leaves a finished run, fails, or waits for a signal
STAND_IN = """
import os, pathlib, shutil, signal, sys, time
workdir = pathlib.Path(sys.argv[sys.argv.index("--workdir") + 1])
with open({log!r}, "a") as log:
    log.write(workdir.name + chr(10))
mode = pathlib.Path({mode!r}).read_text()
if mode == "fail" and "row=b" in workdir.name and "seed=1" in workdir.name:
    raise FloatingPointError("Stage 1, step 7: loss/class = nan.")
if mode == "wait" and "seed=1" in workdir.name:
    def handle(*_):
        (workdir / "saved").write_text("once" if not (workdir / "saved").exists() else "twice")
        sys.exit(0)
    signal.signal(signal.SIGINT, handle)
    (workdir / "waits").touch()
    time.sleep(120)
shutil.copytree({runs!r}["seed=1" in workdir.name], workdir, dirs_exist_ok=True)
"""


def write_files(folder, runs):
    """configs/tiny.py, table.py, launch/train.py and launch/sweep.py below `folder`."""
    for name in ("configs", "launch"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "configs" / "tiny.py").write_text(CONFIG.format(root=str(ROOT)))
    (folder / "table.py").write_text(TABLE)
    (folder / "launch" / "sweep.py").write_text(SWEEP.format(root=str(ROOT)))
    (folder / "mode").write_text("")
    stand_in = STAND_IN.format(log=str(folder / "log"), mode=str(folder / "mode"), runs=list(map(str, runs)))
    (folder / "launch" / "train.py").write_text(stand_in)
    return folder


def started(folder):
    """Names of the runs' folders that the stand-in was given."""
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


def tiny_grid(**fields):
    rows = {"first": ["row=a"], "second": ["row=b"]}
    return Grid("Tiny", "configs/tiny.py", rows, ("c2b", "c2s"), seeds=2)._replace(**fields)


def unpadded(table):
    """A Markdown table without the spaces that line up its columns."""
    return re.sub(" +", " ", table)
