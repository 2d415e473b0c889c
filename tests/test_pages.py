"""Where glibc's malloc serves the process, the pages of large blocks stay with it, and are cleared once."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from smdsb_jax import pages

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
FAULTS = f"""
import resource, runpy
import numpy as np
pages = runpy.run_path({str(Path(pages.__file__))!r})

def faults(size=2**26):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(size // 8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages["one_arena"]()
keep = pages["keep_pages"]
print(faults(), keep(2**30) is not None, faults(), keep(None) is not None, faults(2**27))
"""
BLOCK = 2**26 // os.sysconf("SC_PAGE_SIZE")  # pages of one of its four blocks


def measure(tunables: str) -> list[str]:
    env = {**os.environ, "GLIBC_TUNABLES": tunables, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_pages_stay_where_asked():
    """The pages of four blocks, one after the other, are new each time, or those of the first.

    When they no longer stay, blocks larger than what has stayed are new again.
    """
    before, kept, during, given_back, after = measure("")
    assert (kept, given_back) == ("True", "False")
    assert int(before) > 3.9 * BLOCK and int(during) < 1.2 * BLOCK and int(after) > 2 * 3.9 * BLOCK


def test_the_users_own_setting_stands():
    """With GLIBC_TUNABLES of malloc the library changes nothing, and says so."""
    before, kept, during, *_ = measure("glibc.malloc.arena_max=4")
    assert kept == "False" and int(before) > 3.9 * BLOCK and int(during) > 3.9 * BLOCK


GIVEN_BACK = f"""
import runpy
import numpy as np
pages = runpy.run_path({str(Path(pages.__file__))!r})

pages["one_arena"]()
room = pages["keep_pages"](7).room
kept = []
for _ in range(4):  # each free block lies between what stays
    block = np.ones(2**23)
    kept.append(np.ones(2**10))
    del block
    kept.append(np.ones(2**22))
before = pages["resident_bytes"]()
Kept = pages["Kept"]
same = pages["give_back_beyond"](Kept(before + 2**20, room)).most
unchanged = pages["resident_bytes"]()
most = pages["give_back_beyond"](Kept(before - 2**20, room)).most
after = pages["resident_bytes"]()
print(before, same, unchanged, most, after, sum(array.nbytes for array in kept))
"""


def test_what_is_free_goes_back_where_the_process_has_grown_too_large():
    env = {**os.environ, "GLIBC_TUNABLES": "", "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_BACK], env=env, capture_output=True, text=True, check=True
    )
    before, same, unchanged, most, after, used = map(int, done.stdout.split())
    assert same == before + 2**20 and abs(unchanged - before) < 2**20
    assert before - after > 2**25 - 2**20 and used < after and abs(most - 7 - after) < 2**20
