import h5py
import numpy as np
import pytest

from smdsb_jax.datasets.readers import base
from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.hdf5 import read_hdf5

CLOUDS = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


@pytest.mark.parametrize("name", ["data", "points", "xyz", "pos", "other", "group/other"])
@pytest.mark.parametrize("array", [CLOUDS, CLOUDS[0].astype(np.float64)])
def test_the_dataset_of_a_known_name_or_the_only_one_is_read(path, name, array):
    with h5py.File(path, "w") as file:
        file[name] = array
        file["label"] = np.arange(2)
        if "other" not in name:
            file["normal"] = np.zeros((2, 9, 3))
    found = read_hdf5(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_data_comes_before_the_others(path):
    with h5py.File(path, "w") as file:
        file["points"], file["data"] = np.zeros((9, 3)), CLOUDS
    np.testing.assert_array_equal(read_hdf5(path), CLOUDS)


def test_none_and_several_of_other_names_are_refused(path):
    with h5py.File(path, "w") as file:
        file["label"] = np.arange(2)
    with pytest.raises(
        Unreadable, match="no dataset with 2 or 3 dimensions, and none named data, points, xyz or"
    ):
        read_hdf5(path)
    with h5py.File(path, "a") as file:
        file["left"], file["group/right"] = CLOUDS, CLOUDS
    with pytest.raises(Unreadable, match="holds group/right, left, and none named data"):
        read_hdf5(path)


def test_more_than_the_limit_is_refused_before_it_is_read(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (10**9, 2048, 3), np.float32, chunks=(1, 2048, 3))  # some kilobytes
    with pytest.raises(Unreadable, match=r"declares shape \(1000000000, 2048, 3\), 22888 GiB"):
        read_hdf5(path)
    monkeypatch.setattr(base, "MOST_BYTES", CLOUDS.nbytes)
    with h5py.File(path, "w") as file:
        file["data"] = CLOUDS
    assert read_hdf5(path).shape == CLOUDS.shape


def test_other_files_that_it_names_are_not_opened(path, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["data"] = CLOUDS
    CLOUDS.tofile(tmp_path / "raw")
    for name in ("link", "raw", "virtual"):
        with h5py.File(path, "w") as file:
            if name == "link":
                file["data"] = h5py.ExternalLink(str(other), "/data")
            elif name == "raw":
                external = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("data", CLOUDS.shape, CLOUDS.dtype, external=external)
            else:
                layout = h5py.VirtualLayout(CLOUDS.shape, CLOUDS.dtype)
                layout[:] = h5py.VirtualSource(str(other), "data", CLOUDS.shape)
                file.create_virtual_dataset("data", layout)
        with pytest.raises(Unreadable, match="another file"):
            read_hdf5(path)
    with h5py.File(path, "w") as file:
        file["far"] = h5py.ExternalLink(str(other), "/data")
    with pytest.raises(Unreadable, match="no dataset with 2 or 3 dimensions"):
        read_hdf5(path)
