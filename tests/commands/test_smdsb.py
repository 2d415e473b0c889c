"""The command `smdsb`: its words, its help, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import smdsb_jax
from smdsb_jax import commands
from smdsb_jax.commands import COMMANDS
from smdsb_jax.flags import CONFIGS, named_file
from tests.processes import ROOT, run


def smdsb(*words, cwd=ROOT):
    """The real process, without what the tests' own processes have imported before."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, "-m", "smdsb_jax", *words], cwd=cwd, env=env, capture_output=True, text=True
    )


def test_without_a_word_it_lists_its_commands_and_needs_no_jax(tmp_path):
    code = "import sys; from smdsb_jax.commands import main; main(); print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(f"  {name} " in done.stdout for name in COMMANDS) and done.stdout.endswith("False\n")


@pytest.mark.parametrize(
    "words, status, said", [(["--version"], 0, smdsb_jax.__version__), (["tran"], 2, "'tran'")]
)
def test_other_words(monkeypatch, capsys, words, status, said):
    monkeypatch.setattr(sys, "argv", ["smdsb", *words])
    try:
        commands.main()
        found = 0
    except SystemExit as stopped:
        found = stopped.code
    assert found == status and said in "".join(capsys.readouterr())


def test_every_command_has_a_module_a_script_and_a_help_of_one_style():
    for command in COMMANDS.values():
        assert (ROOT / "smdsb_jax" / "commands" / f"{command.module}.py").is_file()
    done = smdsb("train", "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: smdsb train [flags]\n\nTrain both stages")
    assert "  --workdir ... " in done.stdout and "--config.FIELD" in done.stdout
    assert "--jax" not in done.stdout and "--logger" not in done.stdout  # other libraries' flags
    done = smdsb("sweep", "--help")  # absl adds the same in its own words
    assert "May be repeated." in done.stdout and "repeat this option" not in done.stdout
    done = smdsb("runs", "-h")
    assert done.returncode == 0 and done.stdout.startswith("usage: smdsb runs ")


def test_a_configuration_is_found_by_its_name_alone(tmp_path):
    assert named_file("embedded:c2s,seed=1") == f"{CONFIGS}/embedded.py:c2s,seed=1"
    assert named_file("tables") == f"{CONFIGS}/tables.py"
    for other in ("configs/embedded.py:c2s", "embeded:c2s", "../embedded:c2s", "__init__x"):
        assert named_file(other) == other
    done = smdsb("train", "--config", "embedded:c2x", "--workdir", "run", cwd=tmp_path)
    assert done.returncode == 2 and "config option direction" in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_interrupt_while_it_imports_is_one_line(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "smdsb_jax", "train", "--config", "embedded:c2s", "--workdir", "run"]
    with subprocess.Popen(words, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        while "jaxlib" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().strip() == "Interrupted."


def test_an_interrupt_of_a_command_is_one_line(monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("smdsb_jax.commands.runs.main", interrupted)
    try:
        with pytest.raises(SystemExit) as stopped:
            commands.run("runs", ["smdsb runs"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.value.code == 130 and capsys.readouterr().err.strip() == "Interrupted."


def test_a_command_that_failed_ends_though_a_thread_waits_on(tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text("""
import threading
import smdsb_jax.flags
smdsb_jax.flags.PATIENCE = 0.5
def main(argv):
    threading.Thread(target=threading.Event().wait).start()
    raise ValueError("what is wrong")
smdsb_jax.flags.run_command(main, compiles=False)
""")
    done = run(script, PYTHONPATH=str(ROOT))
    assert done.returncode == 2 and done.stderr == "what is wrong\n"
