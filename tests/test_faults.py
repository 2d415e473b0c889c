"""A minute of the campaign of tests/faults.py; `make faults` has it all."""

import random
from collections import Counter

import pytest

from tests import faults
from tests.faults import Command, damage, judge, main
from tests.tiers import exhaustive


@exhaustive
def test_a_short_campaign_finds_nothing_bad(tmp_path, capsys):
    counts = ("--kills=2", "--terms=1", "--interrupts=1", "--files=4", "--disks=1", "--clocks=1")
    assert main([*counts, "--commands=train", f"--out={tmp_path / 'faults'}"]) == 0
    said = capsys.readouterr().out
    assert "train, SIGKILL: same" in said and "damaged file" in said


class Done:
    def __init__(self, returncode=0, stdout="", stderr=""):
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr


def test_what_is_bad_is_told(tmp_path, monkeypatch, capsys):
    command = Command("prepare", lambda folder: (), ("a",))
    (tmp_path / "a").write_bytes(b"1")
    expected = faults.expected_of(command, tmp_path)
    assert judge(command, Done(), tmp_path, expected) == "same"
    assert judge(command, Done(2, "", "a: cannot be read. Delete it."), tmp_path, expected) == "refused"
    assert judge(command, Done(2, "", "first\nsecond"), tmp_path, expected) == "traceback"
    assert judge(command, Done(1, "", ""), tmp_path, expected) == "traceback"
    assert (
        judge(command, Done(0, "", "Traceback (most recent call last):"), tmp_path, expected) == "traceback"
    )
    (tmp_path / "a").write_bytes(b"2")
    assert judge(command, Done(), tmp_path, expected) == "different"
    bad, good = Counter({("full disk", "lost"): 1}), Counter({("full disk", "refused"): 2})
    for found, code in ((bad, 1), (good, 0)):
        monkeypatch.setattr(faults, "campaign", lambda flags, found=found: found)
        assert main([]) == code
    assert "    2  full disk: refused" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["deleted", "emptied", "truncated", "flipped"])
def test_a_file_is_damaged(how, tmp_path):
    path, rng = tmp_path / "a", random.Random(0)
    path.write_bytes(bytes(100))
    damage(path, how, rng)
    if how == "deleted":
        assert not path.exists()
        return
    content = path.read_bytes()
    assert {"emptied": len(content) == 0, "truncated": len(content) < 100, "flipped": sum(content) > 0}[how]
