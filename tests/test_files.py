import os
import signal
import subprocess
import sys

import pytest

from smdsb_jax import files
from smdsb_jax.files import LOCK, only_writer, whole_file


def test_a_file_is_replaced_at_the_end_of_the_block_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "curves.png"
    with whole_file(str(path)) as part:
        part.write_text("first")
        assert part.suffix == ".png" and part.parent == path.parent and not path.exists()
    with whole_file(path) as part:
        part.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), whole_file(path) as part:
        part.write_text("ha")
        raise OSError("disk full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # nothing was written
    assert path.read_text() == "old"


def test_two_that_write_the_same_file_do_not_mix(tmp_path):
    path = tmp_path / "config.json"
    with whole_file(path) as one, whole_file(path) as other:
        one.write_text("one" * 100)
        other.write_text("other")
    assert path.read_text() == "one" * 100 and list(tmp_path.iterdir()) == [path]


def test_a_folder_has_one_writer_whose_end_frees_it(tmp_path):
    folder = tmp_path / "new"
    with only_writer(folder, "Wait."):
        with pytest.raises(ValueError, match=f"new: process {os.getpid()} on .* is writing here. Wait.$"):
            with only_writer(folder, "Wait."):
                pass
    with only_writer(folder, "Wait."):
        (folder / "kept").touch()
    with pytest.raises(OSError, match="disk full"), only_writer(folder, "Wait."):
        raise OSError("disk full")
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "kept"]


def test_a_folder_in_which_nothing_was_written_is_gone_again(tmp_path):
    with pytest.raises(ValueError, match="no such run"), only_writer(tmp_path / "new", "Wait."):
        raise ValueError("no such run")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_holds_nothing(tmp_path):
    code = (
        f"import runpy, time; lock = runpy.run_path({files.__file__!r})['only_writer']\n"
        f"with lock({str(tmp_path)!r}, 'Wait.'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"process {writer.pid} on"), only_writer(tmp_path, "Wait."):
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    with only_writer(tmp_path, "Wait."):
        pass


def test_a_file_system_without_locks_holds_nothing(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(files.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with only_writer(tmp_path, "Wait."), only_writer(tmp_path, "Wait."):
        pass
