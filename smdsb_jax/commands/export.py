"""A trained network as a file for other programs.

smdsb export --workdir runs/s2c --to onnx --out model.onnx

The file maps points [batch, n, 3] to logits; what must be done to a cloud before is printed (docs/export.md).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import smdsb_jax
from smdsb_jax.export import FORMATS, export
from smdsb_jax.export.network import preprocessing
from smdsb_jax.flags import Parser
from smdsb_jax.registry import printable


def arguments(program: str) -> argparse.ArgumentParser:
    """The flags."""
    parser = Parser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="folder of the run")
    parser.add_argument("--to", required=True, choices=FORMATS, help="format of the file")
    parser.add_argument("--out", required=True, help="the file to write")
    parser.add_argument(
        "--checkpoint",
        default="",
        help="last, source_val, a recorded validator, oracle (chosen with target labels), or a folder of "
        "checkpoints/; default: the run's own config.select_by",
    )
    parser.add_argument("--stage", type=int, choices=(1, 2), help="default: the latest of the run")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="code of your own that the run may import, as my_module:MyEncoder; may be repeated",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Load, write, say what the file expects; `argv[0]` is the program's name."""
    flags = arguments(argv[0]).parse_args(argv[1:])
    model = smdsb_jax.load(flags.workdir, flags.checkpoint, flags.stage, allow=flags.allow)
    path = export(model, flags.out, flags.to)
    count = model.config.data.points
    print(f"{flags.workdir}, stage {model.stage}, step {model.step}: {model.config.encoder.name}.")
    if flags.to != "safetensors":
        print(f"Input: points [batch, {count}, 3]. A cloud's: {preprocessing(model)}.")
    print(printable(f"Classes: {', '.join(model.classes)}."))
    print(printable(f"Written: {path}, {Path(path).stat().st_size:,} bytes"))
    return 0
