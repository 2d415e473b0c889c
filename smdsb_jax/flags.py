"""Command lines: errors of the configuration in one line instead of a traceback."""

import argparse
import functools
import importlib.util
import os
import select
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict

import smdsb_jax.configs
from smdsb_jax import pages
from smdsb_jax.registry import CONTROL, one_line, printable, shown, suggest


def run_command(
    main: Callable[[list[str]], int | None],
    argv: Sequence[str] | None = None,
    about: str | None = None,
    takes_words: bool = False,
    compiles: bool = True,
) -> None:
    """A command's process: flags, errors in one line, and compiled programs kept for the next start.

    What absl logs is shown from critical on: libraries log each error that they then raise, Orbax a hundred
    lines for each thread that writes to a full disk.

    Args:
      main: the program and the words behind its flags → exit status.
      argv: the program and all its words; those of the process if not given.
      about: what the help says before the flags; the docstring of the script if not given.
      takes_words: what follows the flags is for `main`, as the names of files.
      compiles: its programs are kept.

    Raises:
      SystemExit: always.
    """
    logging.set_verbosity(logging.FATAL)
    hide_what_follows_a_failed_write()
    if compiles:
        cache_compilation()
        pages.one_arena()
    argv = sys.argv if argv is None else argv
    about = (sys.modules["__main__"].__doc__ or "") if about is None else about
    parse = functools.partial(parse_flags, about=about)
    try:
        app.run(user_errors(main, takes_words), argv=list(argv), flags_parser=parse)
    except SystemExit as stopped:
        if stopped.code:
            _end_soon(stopped.code if isinstance(stopped.code, int) else 1)
        raise


def _end_soon(code: int) -> None:
    """End the process though a library's threads wait on: Orbax' do for what a failed write never tells."""

    def end() -> None:
        time.sleep(PATIENCE)
        sys.stdout.flush()
        os._exit(code)

    threading.Thread(target=end, daemon=True).start()  # one that ends by itself does so before


PATIENCE = 20  # seconds


def parse_flags(argv: Sequence[str], about: str = "") -> list[str]:
    """For `app.run(main, flags_parser=parse_flags)`: absl, but a wrong config says what is right.

    `~` is the home folder behind `=` too, as in `--workdir=~/runs/s2c`, where shells leave it as it is. A
    `--config` of one word is a file of this package: `embedded:s2c`.
    """
    if {"--help", "-h", "-help", "--helpshort", "--helpfull"} & set(argv[1:]):
        raise SystemExit(user_errors(lambda _: print(help_text(argv[0], about)))([]))
    argv = [_at_home(word) for word in argv]
    odd = [word for word in argv if word.startswith("-") and CONTROL.search(word)]
    if odd:
        return stop(f"{shown(odd[0])}: give text without control characters, in UTF-8.")
    try:
        argv = _with_config_file(argv)
        _refuse_unknown_fields(argv)
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        return stop(f"{error}. --help lists the flags.")
    except (AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
        return stop(str(error))


def help_text(program: str, about: str) -> str:
    """What a command does and its flags, those of this package, as argparse lays them out."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        program, "%(prog)s [flags]", about, formatter_class=layout, add_help=False
    )
    own = parser.add_argument_group("flags")
    for module, of_module in sorted(flags.FLAGS.flags_by_module_dict().items()):
        for flag in of_module if module.partition(".")[0] not in LIBRARIES else ():
            simple = flag.default in (None, [], "") or isinstance(flag.default, bool)
            default = "" if simple else f" ({str(flag.default_as_str).strip(chr(39))})"
            told = (flag.help or "").removesuffix(REPEATED)  # which our texts say themselves
            words = (told + default).replace("%", "%%")
            kind: Any = {"action": "store_true"} if flag.boolean else {"metavar": "..."}
            own.add_argument(f"--{flag.name}", help=words, **kind)
    if "config" in flags.FLAGS:
        own.add_argument("--config.FIELD", metavar="...", help="Any field of the configuration.")
    return parser.format_help().rstrip()


# what absl adds to the help of such a flag
REPEATED = ";\n    repeat this option to specify a list of values"
# whose flags no help shows; what a script defines is of the module __main__
LIBRARIES = ("absl", "ml_collections", "jax", "orbax", "etils", "flax", "tensorstore")


def stop(message: str) -> Any:
    """Print the message to the standard error, a line for each of its own, and exit with 2."""
    print(*map(one_line, message.split("\n")), sep="\n", file=sys.stderr)
    raise SystemExit(2)


class _Words(flags.MultiFlag):
    """Words with commas between them; the flag given again adds to them."""

    def _parse(self, arguments: str | Sequence[str]) -> list[str]:
        given = [arguments] if isinstance(arguments, str) else arguments
        return [word.strip() for several in given for word in several.split(",") if word.strip()]

    def _serialize(self, value: list[str] | None) -> str:
        return ",".join(value or ())


def define_words(
    name: str, default: list[str] | None, about: str, flag_values: flags.FlagValues = flags.FLAGS
) -> flags.FlagHolder[list[str]]:
    """A flag of words: `--batch=16,32` and `--batch=16 --batch=32` are the same."""
    parsing = flags.ArgumentParser(), flags.ListSerializer(",")
    return flags.DEFINE_flag(_Words(*parsing, name, default, about), flag_values)


class Parser(argparse.ArgumentParser):
    """That of the commands without a configuration: an error is one line here too."""

    def error(self, message: str) -> NoReturn:
        """Say it and how to learn more."""
        stop(f"{printable(message)}. --help lists the flags.")
        raise AssertionError


def user_errors(
    main: Callable[[list[str]], int | None], takes_words: bool = False
) -> Callable[[list[str]], int | None]:
    """`main`, with the errors that a user can mend shown as their message alone.

    Where nobody reads its output any more, as behind `| head`, it ends without a word, as others do.

    `takes_words`: what follows the flags is for `main`, as the names of files.
    """

    def run(argv: list[str]) -> int | None:
        if argv[1:] and not takes_words:
            return stop(f"{argv[1]!r} is no flag; --help lists them.")
        try:
            try:
                return main(argv)
            finally:
                sys.stdout.flush()
        except (ValueError, FloatingPointError, OSError) as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                return NOBODY_READS
            if _debug():
                raise
            return stop(str(error))
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if _debug() or not (isinstance(error, MemoryError) or EXHAUSTED in str(error)):
                raise
            said = (str(error).splitlines() or [""])[0].rstrip(".")
            return stop(f"Out of memory ({said}). Take fewer clouds at a time, or fewer points of each.")

    return run


NOBODY_READS = 128 + 13  # as of a process that SIGPIPE ended


def _nobody_reads() -> bool:
    """Whether the reader of the standard output has gone; what is left to write then goes nowhere."""
    output, asked = sys.stdout.fileno(), select.poll()
    asked.register(output, 0)
    if not any(event & select.POLLERR for _, event in asked.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _debug() -> bool:
    return flags.FLAGS.is_parsed() and flags.FLAGS.debug  # a command may have argparse's flags instead


class RunFlags(NamedTuple):
    """Which checkpoint of which run; `.value` of each, once the flags are parsed."""

    workdir: flags.FlagHolder
    checkpoint: flags.FlagHolder
    stage: flags.FlagHolder
    allow: flags.FlagHolder


def define_run_flags() -> RunFlags:
    """The flags of the commands that take a checkpoint: what `smdsb_jax.load` takes."""
    return RunFlags(
        flags.DEFINE_string("workdir", None, "Folder of the run."),
        flags.DEFINE_string(
            "checkpoint",
            "",
            "last, source_val, a recorded validator, oracle (chosen with target labels), or a folder of "
            "checkpoints/; the run's own config.select_by if not given.",
        ),
        flags.DEFINE_integer("stage", None, "1 or 2; the latest of the run if not given.", 1, 2),
        flags.DEFINE_multi_string(
            "allow",
            [],
            "Code of your own that the run may import, as my_module:MyEncoder. May be repeated.",
        ),
    )


def hide_what_follows_a_failed_write() -> None:
    """Where one part of a checkpoint cannot be written, Orbax raises that, which the run tells in one line.

    It then closes the loop that awaited the other parts, and tensorstore's threads, which bring their results
    to it, print a traceback for each: several hundred lines.
    """
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
    show = sys.unraisablehook

    def show_others(told: Any) -> None:
        if not (isinstance(told.exc_value, RuntimeError) and str(told.exc_value) == "Event loop is closed"):
            show(told)

    sys.unraisablehook = show_others


CONFIGS = Path(smdsb_jax.configs.__path__[-1])  # beside launch/ in a clone, within the installed package
EXHAUSTED = "RESOURCE_EXHAUSTED"  # jax's word for memory that is not there


flags.DEFINE_boolean("debug", False, "Show the traceback of an error.")


def _at_home(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}={os.path.expanduser(value)}" if equals and name.startswith("--") else word


def _with_config_file(argv: Sequence[str]) -> list[str]:
    """`--config embedded:s2c` as `--config …/configs/embedded.py:s2c`."""
    found = list(argv)
    for i, word in enumerate(found):
        if word == "--config" and i + 1 < len(found):
            found[i + 1] = named_file(found[i + 1])
        elif word.startswith("--config="):
            found[i] = "--config=" + named_file(word.removeprefix("--config="))
    return found


def named_file(name: str) -> str:
    """A file of configs/ by its name alone, with its argument: `tables:table1`; others as they are."""
    path, colon, argument = name.partition(":")
    file = CONFIGS / f"{path}.py"
    return f"{file}{colon}{argument}" if path.isidentifier() and file.is_file() else name


def _refuse_unknown_fields(argv: Sequence[str]) -> None:
    """Name the valid fields beside an unknown one (ml-collections: AttributeError: 'keep_ration')."""
    overrides = [word[2:].partition("=")[0].split(".")[1:] for word in argv if word.startswith("--config.")]
    given = [
        word.partition("=")[2] or after for word, after in _pairs(argv) if word.split("=")[0] == "--config"
    ]
    if not given:
        return
    config = load_config(given[-1])
    for path in overrides:
        section = config
        for depth, name in enumerate(path):
            if not isinstance(section, ConfigDict) or name not in section:
                where = ".".join(["config", *path[:depth]])
                known = suggest(name, section) if isinstance(section, ConfigDict) else " It has no fields."
                raise ValueError(f"{where} has no field {name!r}.{known}")
            section = section[name]


def _pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(argv, [*argv[1:], ""], strict=True))


def load_config(name: str) -> ConfigDict:
    """`get_config(argument)` of `path/to/file.py:argument`.

    Raises:
      ValueError: no such file, or one without `get_config`.
    """
    path = name.partition(":")[0]
    if not Path(path).is_file():
        known = sorted(file.stem for file in CONFIGS.glob("[!_]*.py"))
        raise ValueError(
            f"--config {path}: no such file. There are {', '.join(known)}; as in --config embedded:s2c."
        )
    return call_of_file(name, "get_config", "--config")


def call_of_file(name: str, function: str, flag: str) -> Any:
    """`function(argument)` of `path/to/file.py:argument`; without an argument its default.

    Raises:
      ValueError: a file without that function; names the flag that gave it.
    """
    path, _, argument = name.partition(":")
    spec = importlib.util.spec_from_file_location(function, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{flag} {path}: give a Python file with a function {function}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, function):
        raise ValueError(f"{flag} {path}: it has no function {function}.")
    made = getattr(module, function)
    return made(argument) if argument else made()


def cache_compilation() -> None:
    """Keep compiled programs in ~/.cache/smdsb_jax (or $JAX_COMPILATION_CACHE_DIR) for the next start."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or Path.home() / ".cache" / "smdsb_jax"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
