"""`smdsb evaluate` from a clone, where nothing is installed: python launch/evaluate.py --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from smdsb_jax.commands import run

if __name__ == "__main__":
    run("evaluate", sys.argv)
