"""Files of HDF5: the clouds of one dataset.

https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from pathlib import Path

import h5py
import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable, check_size

NAMES = ("data", "points", "xyz", "pos")  # of the dataset of clouds among others


def read_hdf5(path: Path) -> np.ndarray:
    """The first dataset that has one of `NAMES`, or the only one in all groups with 2 or 3 dimensions."""
    with h5py.File(path, "r") as file:
        name = next((name for name in NAMES if name in file), None)
        if name is None:
            found: list[str] = []
            # visits no link that leads out of the file
            file.visititems(lambda key, item: found.append(key) if _may_be_clouds(item) else None)
            if len(found) != 1:
                held = ", ".join(found) or "no dataset with 2 or 3 dimensions"
                raise Unreadable(f"holds {held}, and none named {', '.join(NAMES[:-1])} or {NAMES[-1]}")
            name = found[0]
        return read_dataset(file, name)


def _may_be_clouds(item: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim in (2, 3)


def read_dataset(file: h5py.File, name: str) -> np.ndarray:
    """A dataset that lies in the file itself.

    Raises:
      Unreadable: there is none of that name, it lies in another file, or it is larger than `MOST_BYTES`.
    """
    link = file.get(name, getlink=True)
    item = file[name] if isinstance(link, h5py.HardLink) else None
    if link is not None and item is None:
        raise Unreadable(f"{name!r} is a link, which may lead to another file and is not followed")
    if not isinstance(item, h5py.Dataset):
        raise Unreadable(f"no dataset {name!r}, only {', '.join(sorted(file)) or 'nothing'}")
    if item.external or item.is_virtual:
        raise Unreadable(f"the values of {name!r} lie in another file, which is not opened")
    check_size(item.shape, item.nbytes)
    return np.asarray(item)
