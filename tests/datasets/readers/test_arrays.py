import io
import pickle
import zipfile

import numpy as np
import pytest

from smdsb_jax.datasets.readers import base
from smdsb_jax.datasets.readers.arrays import read_npy, read_npz
from smdsb_jax.datasets.readers.base import Unreadable

CLOUD = np.random.default_rng(0).normal(size=(9, 4))


def test_an_npy_is_read_whole(tmp_path):
    np.save(tmp_path / "a.npy", CLOUD)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), CLOUD)


@pytest.mark.parametrize("start", [0, 100])
def test_an_npy_that_declares_too_much_is_refused(tmp_path, start):
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**11, 3)}
    np.lib.format.write_array_header_1_0(file, header)
    (tmp_path / "a.npy").write_bytes(file.getvalue() + bytes(start))
    with pytest.raises(Unreadable, match="truncated or corrupt"):
        read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_gives_its_only_array_or_the_one_of_a_known_name(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, anything=CLOUD)
    np.testing.assert_array_equal(read_npz(path), CLOUD)
    for name in ("points", "data", "pos", "xyz"):
        save(path, labels=np.arange(9), **{name: CLOUD})
        np.testing.assert_array_equal(read_npz(path), CLOUD)
    save(path, CLOUD, np.arange(9))  # arr_0 and arr_1
    np.testing.assert_array_equal(read_npz(path), CLOUD)


def test_an_npz_of_other_names_tells_them(tmp_path):
    np.savez(tmp_path / "a.npz", right=CLOUD, left=CLOUD)
    with pytest.raises(Unreadable, match="holds left, right: give one of them the name points"):
        read_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz")
    with pytest.raises(Unreadable, match="holds no arrays"):
        read_npz(tmp_path / "a.npz")


def test_pickles_are_not_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", points=np.array([CLOUD, None], object))
    with pytest.raises(Unreadable, match="is pickled"):
        read_npz(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(pickle.dumps(CLOUD))
    with pytest.raises(Unreadable, match="not an npz file"):
        read_npz(tmp_path / "a.npz")


def test_an_npz_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "MOST_BYTES", 2**20)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((2**16, 3)))
    with pytest.raises(Unreadable, match=r"declares .*1572\d\d\d"):
        read_npz(tmp_path / "a.npz")


def test_an_npz_without_an_array_or_cut_off_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("points", "words")
    with pytest.raises(Unreadable, match="'points' is no array"):
        read_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", CLOUD)
    content = (tmp_path / "a.npz").read_bytes()
    for keep in (3, 60, 200, len(content) - 1):
        (tmp_path / "a.npz").write_bytes(content[:keep])
        with pytest.raises(Unreadable, match="truncated or not an npz file"):
            read_npz(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", CLOUD)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(Unreadable, match="not an npz file"):
        read_npz(tmp_path / "b.npz")
