"""List the runs below a folder: what differs between their configurations, how far they are, their scores.

smdsb runs runs
smdsb runs runs --sort target_test/accuracy
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from smdsb_jax.flags import Parser
from smdsb_jax.report.runs import find_runs, runs_table


def main(argv: Sequence[str]) -> int:
    """Print the table."""
    parser = Parser(argv[0], description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="runs", help="searched with all below it (%(default)s)")
    parser.add_argument("--sort", default="", help="a column: numbers from the largest, words from A")
    given = parser.parse_args(argv[1:])
    print(runs_table(find_runs(Path(given.folder).expanduser()), given.sort))
    return 0
