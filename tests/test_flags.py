import os
import re
import sys
import warnings
from pathlib import Path
from unittest import mock

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from smdsb_jax.flags import (
    Parser,
    cache_compilation,
    define_words,
    help_text,
    hide_what_follows_a_failed_write,
    load_config,
    parse_flags,
    stop,
    user_errors,
)
from smdsb_jax.registry import LONGEST

# how ml-collections loads the file
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CONFIG = """
from ml_collections import ConfigDict
def get_config(arg="none"):
    config = ConfigDict({"seed": 0, "stages": (1, 2), "selection": {"keep_ratio": 0.7, "side": ""}})
    config.arg = arg
    return config
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def values(monkeypatch):
    """The absl flags of a script, for one test."""
    own = flags.FlagValues()
    flags.DEFINE_boolean("debug", False, "", flag_values=own)
    config_flags.DEFINE_config_file("config", None, "", flag_values=own)
    monkeypatch.setattr(flags, "FLAGS", own)
    return own


def parse(*argv):
    argv = ["train.py", *argv]
    with mock.patch.object(sys, "argv", argv):  # ml-collections looks there for overrides
        return parse_flags(argv)


def told(capsys, *argv):
    """The one line that refuses a command line."""
    with pytest.raises(SystemExit) as exit_:
        parse(*argv)
    assert exit_.value.code == 2
    out, error = capsys.readouterr()
    assert out == "" and "Traceback" not in error and error.endswith("\n") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("how", ["--config={}", "--config {}"])
def test_right_flags_pass(values, config, how):
    rest = parse(*how.format(f"{config}:x").split(), "--config.selection.keep_ratio=0.5")
    assert rest == ["train.py"]
    assert values.config.selection.keep_ratio == 0.5 and values.config.arg == "x"


def test_the_home_folder_behind_an_equals_sign(values, config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    rest = parse(f"--config=~/{Path(config).name}:~", "--workdir=~/my runs/x~", "a=~/b")
    assert values.workdir == f"{tmp_path}/my runs/x~"
    assert values.config.arg == "~" and rest == ["train.py", "a=~/b"]


@pytest.mark.parametrize(
    "override, words",
    [
        (
            "--config.selection.keep_ration=0.5",
            "config.selection has no field 'keep_ration'. Did you mean 'keep_ratio'? Known: keep_ratio",
        ),
        ("--config.sed=1", "config has no field 'sed'. Did you mean 'seed'? Known: arg, seed, selection"),
        ("--config.seed.x=1", "config.seed has no field 'x'. It has no fields."),
        ("--config.selection.keep_ratio=many", "--config.selection.keep_ratio=many: could not convert"),
        ("--config.seed=1.5", "--config.seed=1.5: "),
        ("--nosuch=1", "Unknown command line flag 'nosuch'"),
    ],
)
def test_wrong_overrides_are_told_in_one_line(values, config, capsys, override, words):
    assert words in told(capsys, "--config", config, override)


@pytest.mark.parametrize("given, read", [
    ([], ["16"]), (["--batch=8,32"], ["8", "32"]), (["--batch=8, 32", "--batch", "64"], ["8", "32", "64"]),
])  # fmt: skip
def test_words_may_stand_together_or_apart(values, given, read):
    define_words("batch", ["16"], "Sizes.", flag_values=values)
    assert parse(*given) == ["train.py"] and values.batch == read
    assert "Sizes. (16)" in help_text("train.py", "")


def test_wrong_files_are_told_in_one_line(values, tmp_path, capsys):
    missing = tmp_path / "no.py"
    assert f"--config {missing}: no such file." in told(capsys, "--config", f"{missing}:c2s")
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    assert f"--config {empty}: it has no function get_config." in told(capsys, f"--config={empty}")
    text = tmp_path / "config.txt"
    text.write_text("x = 1\n")
    assert "give a Python file" in told(capsys, "--config", str(text))


def test_errors_of_the_config_file_itself_are_told(values, capsys, tmp_path):
    path = tmp_path / "config.py"
    path.write_text("def get_config(arg=''):\n    raise ValueError(f'option {arg} is not known')\n")
    assert told(capsys, "--config", f"{path}:zzz") == "option zzz is not known\n"


def test_load_config_passes_the_argument_or_leaves_the_default(config):
    assert load_config(config).arg == "none" and load_config(f"{config}:a:b,c=d").arg == "a:b,c=d"


@pytest.mark.parametrize("kind", [ValueError, FloatingPointError, FileNotFoundError])
def test_errors_that_a_user_can_mend_are_shown_alone_and_in_full_with_debug(values, capsys, kind):
    def main(argv):
        raise kind("lower the rate")

    values(["train.py"])
    with pytest.raises(SystemExit) as exit_:
        user_errors(main)(["train.py"])
    assert exit_.value.code == 2 and capsys.readouterr().err == "lower the rate\n"
    values(["train.py", "--debug"])
    with pytest.raises(kind, match="lower the rate"):
        user_errors(main)(["train.py", *[]])


def test_where_nobody_reads_the_output_it_ends_without_a_word(values, capsys, monkeypatch):
    def lines(argv):
        print("a line\n" * 10**5)

    def helps(argv):
        parse_flags(["train.py", "--help"])

    values(["train.py"])
    for main in (lines, helps):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as unread, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", unread)
            with pytest.raises(SystemExit) as exit_:
                raise SystemExit(user_errors(main)(["train.py"]))
            assert exit_.value.code == 141
            print("what is left", flush=True)  # as at the end of a process
        assert capsys.readouterr().err == ""


def test_another_pipe_that_breaks_is_an_error(values, capfd):
    def main(argv):
        raise BrokenPipeError("of a tracker")

    values(["train.py"])
    with pytest.raises(SystemExit) as exit_:
        user_errors(main)(["train.py"])
    assert exit_.value.code == 2 and capfd.readouterr().err == "of a tracker\n"


def test_errors_of_the_program_keep_their_traceback(values):
    def main(argv):
        raise RuntimeError("a defect")

    values(["train.py"])
    with pytest.raises(RuntimeError, match="a defect"):
        user_errors(main)(["train.py"])


def test_a_stray_word_is_refused_before_any_work(values, capsys):
    values(["train.py"])
    with pytest.raises(SystemExit):
        user_errors(lambda argv: pytest.fail("was run"))(["train.py", "m2s"])
    assert "'m2s' is no flag" in capsys.readouterr().err
    assert user_errors(lambda argv: 7)(["train.py"]) == 7


def test_stop_exits_with_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        stop("why")
    assert exit_.value.code == 2 and capsys.readouterr() == ("", "why\n")


def test_compiled_programs_are_kept_where_the_environment_says(monkeypatch, tmp_path):
    updated = {}
    monkeypatch.setattr("jax.config.update", updated.__setitem__)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    cache_compilation()
    assert updated["jax_compilation_cache_dir"] == str(tmp_path)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache_compilation()
    assert updated["jax_compilation_cache_dir"] == str(tmp_path / "home" / ".cache" / "smdsb_jax")


@pytest.mark.parametrize("word", ["--config=a\nb", "--x=\x1b[2J", "-\udc80"])
def test_flags_with_control_characters_are_refused(values, capsys, word):
    assert "give text without control characters" in told(capsys, word)


def test_an_error_is_shortened_and_on_its_lines(capsys):
    with pytest.raises(SystemExit):
        stop("x" * 5000 + "\na\x1bb")
    first, second = capsys.readouterr().err.splitlines()
    assert len(first) == LONGEST and "xx … xx" in first and second == r"a\x1bb"


def test_errors_of_argparse_are_one_line(capsys):
    parser = Parser()
    parser.add_argument("--points", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["--points=many"])
    assert (
        capsys.readouterr().err == "argument --points: invalid int value: 'many'. --help lists the flags.\n"
    )


@pytest.mark.parametrize(
    "error", [MemoryError("of 9 GiB"), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: of 9 GiB\nmore")]
)
def test_memory_that_is_not_there_is_told_in_one_line(values, capsys, error):
    values(["train.py"])

    def fails(_):
        raise error

    with pytest.raises(SystemExit):
        user_errors(fails)(["train.py"])
    assert re.fullmatch(r"Out of memory \(.*of 9 GiB\)\. Take fewer .*\n", capsys.readouterr().err)
    with pytest.raises(jax.errors.JaxRuntimeError):
        user_errors(lambda _: (_ for _ in ()).throw(jax.errors.JaxRuntimeError("INTERNAL")))(["train.py"])


def test_what_a_librarys_threads_say_after_a_failed_write_is_hidden_and_nothing_else(monkeypatch):
    class Late:
        def __init__(self, error):
            self.error = error

        def __del__(self):
            raise self.error

    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: shown.append(str(told.exc_value)))
    with warnings.catch_warnings():
        hide_what_follows_a_failed_write()
    for error in (
        RuntimeError("Event loop is closed"),
        RuntimeError("another"),
        OSError("Event loop is closed"),
    ):
        Late(error)  # gone at once
    assert shown == ["another", "Event loop is closed"]
