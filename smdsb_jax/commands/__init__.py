"""The command `smdsb` and its words: `smdsb train …` is `python launch/train.py …` of a clone."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

INTERRUPTED = "Interrupted."


class Command(NamedTuple):
    """One word of `smdsb`; the module has `main(argv)`, its flags and, as its docstring, its help."""

    module: str
    summary: str
    takes_words: bool = False  # what follows the flags is for `main`, as the names of files
    compiles: bool = True  # its programs are kept for the next start
    parses: bool = False  # its `main` reads its flags itself: it has no configuration


COMMANDS = {
    "train": Command("train", "Train both stages; the same command resumes."),
    "evaluate": Command("evaluate", "Scores of a run on any domain of its data set."),
    "predict": Command("predict", "Classify clouds in files.", takes_words=True),
    "analyze": Command("analyze", "Which statistic predicts gradient conflict?"),
    "prepare": Command("prepare", "Check a data set and write its caches.", parses=True),
    "sweep": Command("sweep", "Run a table of trainings, here or on a cluster.", compiles=False),
    "export": Command("export", "A network as StableHLO, ONNX or safetensors.", parses=True),
    "import": Command("import_weights", "Weights of a research code in PyTorch → safetensors.", parses=True),
    "runs": Command("runs", "List the runs of a folder.", parses=True),
}


def run(name: str, argv: Sequence[str]) -> None:
    """One command to the end of the process.

    Args:
      name: of `COMMANDS`.
      argv: the program, as it calls itself in its help, and the words behind it.

    Raises:
      SystemExit: always.
    """
    signal.signal(signal.SIGINT, _interrupted)  # an exception could be lost in what is imported
    command = COMMANDS[name]
    module = importlib.import_module(f"smdsb_jax.commands.{command.module}")  # only this one's flags
    from smdsb_jax.flags import run_command, user_errors

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if command.parses:
            raise SystemExit(user_errors(module.main, takes_words=True)(list(argv)))
        run_command(module.main, argv, module.__doc__ or "", command.takes_words, command.compiles)
    except KeyboardInterrupt:
        print(f"\n{INTERRUPTED}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None


def _interrupted(number: int, frame: Any) -> NoReturn:
    del frame
    os.write(2, f"\n{INTERRUPTED}\n".encode())
    os._exit(128 + number)


def main() -> None:
    """`smdsb WORD …`, as installed and as `python -m smdsb_jax WORD …`."""
    word, words = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if word in COMMANDS:
        run(word, [f"smdsb {word}", *words])
    if word in ("--version", "version"):
        from smdsb_jax import __version__

        print(__version__)
        return
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    usage = ["usage: smdsb COMMAND [flags]", "", *lines, "", "smdsb COMMAND --help tells its flags."]
    if word in ("--help", "-h", "help"):
        print(*usage, sep="\n")
        return
    print(f"smdsb has no command {word!r}: {', '.join(COMMANDS)}.", file=sys.stderr)
    raise SystemExit(2)
