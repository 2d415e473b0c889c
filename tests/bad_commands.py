"""Commands and tables of which one word is wrong: cases of tests/bad_input.py."""

import contextlib
import functools
import io
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from absl import flags
from hypothesis import strategies as st
from ml_collections import config_flags

import smdsb_jax.flags
from smdsb_jax.config import flatten, resolve
from smdsb_jax.configs import tables
from smdsb_jax.flags import parse_flags, user_errors
from tests.bad_configurations import base
from tests.bad_values import SIMPLE, Case
from tests.processes import LAUNCH, ROOT

IN_THE_WAY = {  # what a command would do, were the rest of its words right
    "train.py": ["--config=configs/embedded.py:c2s,budget=study,encoder=pointnet", "--workdir={}/run"],
    "evaluate.py": ["--workdir={}/run"],
    "predict.py": ["--workdir={}/run", "{}/cloud.npy"],
    "analyze.py": ["--workdir={}/run", "--out={}/out"],
    "sweep.py": ["--table=configs/tables.py:alpha", "--workdir={}/runs", "--dry_run", "--seeds=1"],
    "benchmark.py": ["--out={}/out"],
    "gpu_check.py": ["--out={}/out"],
    "prepare_data.py": ["--data={}/data"],
    "simulate_scans.py": ["--data={}/data", "--out={}/out"],
}
ARGPARSE = {
    "prepare_data.py": ("data", "cache", "mesh_points", "seed", "verify", "allow-incomplete"),
    "simulate_scans.py": ("data", "out", "classes", "points", "scan_points", "mesh_points", "seed"),
}
FILES = ("tables.py", "tables.py:x", "embedded.py:zz", "embedded.py:c2s,x=1")
WORDS = st.one_of(
    SIMPLE.map(str),
    st.sampled_from([
        "", "1.5", "-1", "0", "nan", "99999999999999999999", "a,b", "1,,2", "..", "/",
        "x:y", "()", "[", "{}/run",
    ]),
    st.sampled_from([f"configs/{name}" for name in FILES]),
).filter(lambda word: "\0" not in word)  # fmt: skip


@functools.cache
def command(script: str) -> tuple[flags.FlagValues, dict[str, Any], tuple[str, ...]]:
    """The flags of a script's command, apart from those of all others; what it defines; their names."""
    own = flags.FlagValues()
    with contextlib.ExitStack() as stack:
        for module in (flags, config_flags, smdsb_jax.flags):
            for name in (
                name
                for name in dir(module)
                if name.startswith(("DEFINE_", "define_words")) and name != "DEFINE_flag"
            ):
                define = functools.partial(getattr(module, name), flag_values=own)
                stack.enter_context(mock.patch.object(module, name, define))
        flags.DEFINE_boolean("debug", False, "")
        own_file = ROOT / "smdsb_jax" / "commands" / script.replace("_data", "")
        module = runpy.run_path(str(own_file if own_file.exists() else LAUNCH / script), run_name="launch")
        return own, module, tuple(own)


def own_flags(script: str) -> list[str]:
    """The names of a script's flags."""
    return sorted({*command(script)[2]} - {"debug"}) or list(ARGPARSE[script])


@st.composite
def command_lines(draw: Any) -> Case:
    """A word of a command that is wrong."""
    script = draw(st.sampled_from(sorted(IN_THE_WAY)))
    name, value = draw(st.sampled_from(own_flags(script))), draw(WORDS)
    how = draw(st.sampled_from(["value", "value", "value", "alone", "unknown", "word", "no", "field"]))
    word = {
        "alone": f"--{name}", "unknown": f"--{name}s={value}", "word": value, "no": f"--no{name}",
    }.get(how, f"--{name}={value}")  # fmt: skip
    names = (
        name,
        value,
        repr(value)[1:-1],
        "/run",
        "/data",
        "/out",
        "/cloud.npy",
        "--dry_run",
        "sees no GPU",
        "is no flag",
        "is no flag",
        "unrecognized",
        value.lstrip("-"),
    )
    if how == "field" and script in ("train.py", "sweep.py"):
        field = draw(st.sampled_from(sorted(flatten(base("embedded.py:c2s,budget=study,encoder=pointnet")))))
        dot = draw(st.sampled_from(["", "", "", ".x", "s"]))
        word = f"--config.{field}{dot}={value}" if script == "train.py" else f"--field={field}{dot}={value}"
        names = (field, *field.split(".")[-1:], value)
    return Case("command line", f"{script} {word!r}", names, functools.partial(give, script, word))


def give(script: str, word: str, place: Path) -> None:
    """The command in this process, as far as its checks; what it says instead of a traceback is raised."""
    own, module, known = command(script)
    for name in {*own} - {*known}:  # overrides of a configuration
        delattr(own, name)
    words = [text.replace("{}", str(place)) for text in (*IN_THE_WAY[script], word)]
    words += ["--dry_run"] * (script == "sweep.py")  # the last counts
    out, error = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors=errors) for errors in ("strict", "backslashreplace")
    )
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        mock.patch.object(flags, "FLAGS", own),
        mock.patch.object(sys, "argv", [script, *words]),
        mock.patch.dict(module["main"].__globals__, {"estimate": lambda plan: ""}),  # it would measure
    ):
        own.unparse_flags()
        for name in own:
            own[name].unparse()
        code: Any = 0
        try:
            if script == "prepare_data.py":
                code = user_errors(module["main"], takes_words=True)([script, *words])
            elif script in ARGPARSE:
                code = module["main"](words)
            else:
                rest = parse_flags([script, *words])
                if script == "train.py":
                    user_errors(lambda _: check_training(own))(rest)
                elif script != "benchmark.py":  # it would measure
                    code = user_errors(module["main"], takes_words=script == "predict.py")(rest)
        except SystemExit as stopped:
            code = stopped.code
        out.flush(), error.flush()
    said = error.buffer.getvalue().decode()
    if isinstance(code, str):  # sys.exit("…")
        said, code = f"{code}\n", 1
    if code:
        raise Refused(said.removesuffix("\n"))
    assert not said, said


class Refused(ValueError):
    """What a command has said to the standard error."""


def check_training(own: flags.FlagValues) -> int:
    """The first lines of launch/train.py."""
    resolve(own["config"].value)
    return 0


ROW = st.sampled_from(["table1", "alpha", "hosts", "decide", "selection", *tables.TABLES])


@st.composite
def tables_of_runs(draw: Any) -> Case:
    """A table, its options or a field for all of its rows."""
    how = draw(st.sampled_from(["argument", "field", "field", "directions", "seeds", "file"]))
    name, value = draw(ROW), draw(WORDS)
    fields = sorted(flatten(base("embedded.py:c2s,budget=study,encoder=pointnet")))
    words = (
        ["--directions=m2s" if name == "table2" else "--directions=c2s"]
        if how != "directions"
        else [f"--directions={value}"]
    )
    argument, names = f"configs/tables.py:{name},data=embedded", (value, repr(value)[1:-1], "table")
    if how == "argument":
        option = draw(st.sampled_from(["data", "table", "direction", "seeds", "", "x"]))
        argument = draw(
            st.sampled_from([f"configs/tables.py:{name},{option}={value}", f"configs/tables.py:{value}"])
        )
        names += (option, name)
    elif how == "file":
        argument = f"{value}:{name}"
    elif how == "seeds":
        words.append(f"--seeds={value}")
        names += ("seeds",)
    elif how == "field":
        field = draw(st.sampled_from(fields))
        words.append(f"--field={field}={value}")
        names += (field, field.split(".")[-1])
    elif how == "directions":
        names += ("direction", "directions")
    words.append(f"--table={argument}")

    def attempt(place: Path) -> None:
        # the last of a flag counts; seeds of its own where the case has none
        give_all("sweep.py", [f"--workdir={place}/runs", "--dry_run", "--seeds=1", *words], place)

    return Case("table", f"{words}", (*names, "/runs", "direction"), attempt)


def give_all(script: str, words: Sequence[str], place: Path) -> None:
    """A whole command line."""
    with mock.patch.dict(IN_THE_WAY, {script: list(words[:-1])}):
        give(script, words[-1], place)
