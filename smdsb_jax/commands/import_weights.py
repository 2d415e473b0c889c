"""Weights of a research code in PyTorch → a file that a training can start from.

smdsb import model.pth --encoder dgcnn --out weights.safetensors
smdsb train --config configs/pointda.py:m2s --config.init_from=weights.safetensors ...

Of DefRec, of codes with its layers, as Self-distillation, and of GAST; which, and what not: docs/export.md.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import jax

from smdsb_jax.flags import Parser
from smdsb_jax.published_weights import PUBLISHED, import_weights
from smdsb_jax.registry import printable
from smdsb_jax.weights import SUFFIX, write_weights


def arguments(program: str) -> argparse.ArgumentParser:
    """The flags."""
    parser = Parser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="what torch.save wrote: a state dict, or dicts that hold one")
    parser.add_argument("--encoder", required=True, choices=PUBLISHED, help="which network it is")
    parser.add_argument("--out", required=True, help=f"the file to write, *{SUFFIX}")
    parser.add_argument(
        "--classes", default="", help="their names in the order of the logits, as bed,chair; default: unknown"
    )
    parser.add_argument("--k", type=int, help="neighbors per point of DGCNN, where no shape tells (20)")
    parser.add_argument("--part", default="", help="which of several networks in the file, as net or ema")
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PREFIX",
        help="leave out what is named so, as a further head; may be repeated",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Read, rename, write; `argv[0]` is the program's name.

    Raises:
      ValueError: a file that does not hold such a network, or names of more or fewer classes.
    """
    parser = arguments(argv[0])
    flags = parser.parse_args(argv[1:])
    out = Path(flags.out).expanduser()
    if out.suffix != SUFFIX or out.is_dir():
        parser.error(
            f"--out {flags.out}: give a file that ends with {SUFFIX}, by which config.init_from knows it"
        )
    found = import_weights(flags.file, flags.encoder, k=flags.k, part=flags.part, ignore=flags.ignore)
    classes = [word.strip() for word in flags.classes.split(",")] if flags.classes else []
    if classes and len(classes) != found.classes:
        raise ValueError(
            f"--classes has {len(classes)} names, {flags.file} {found.classes} classes: give all."
        )
    about = {"encoder": json.dumps(found.encoder), "task": json.dumps({"name": found.task})}
    write_weights(out, found.variables, about | ({"classes": json.dumps(classes)} if classes else {}))
    count = sum(leaf.size for leaf in jax.tree.leaves(found.variables["params"]))
    parts = ", ".join(found.variables["params"])
    print(f"{flags.encoder}: {count:,} parameters of {parts}; {found.classes} classes.")
    print(printable(f"Written: {out}. Start from it with --config.init_from={out} and"))
    print(
        " ".join(f"--config.encoder.{name}={value}".replace(" ", "") for name, value in found.encoder.items())
    )
    return 0
