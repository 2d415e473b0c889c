import h5py
import numpy as np
import pytest

from smdsb_jax.datasets.counts import Count
from smdsb_jax.datasets.pointda import CLASSES, DOMAINS
from smdsb_jax.datasets.pointda_counts import published_counts, verify

# Totals of the loaders' logs: train, test, and train by the rule of every 9th and 10th object.
TOTALS = {
    "modelnet": (4183, 856, 3347, 836),
    "shapenet": (17378, 2492, 13904, 3474),
    "scannet": (6110, 1769, 4888, 1222),
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_published_totals(domain):
    published = published_counts()
    total = lambda split: sum(published[domain, split, c] for c in CLASSES)  # noqa: E731
    assert tuple(map(total, ("train", "test", "train_part", "val_part"))) == TOTALS[domain]


def test_the_largest_test_classes_give_the_published_floors():
    published = published_counts()
    for domain, floor in {"modelnet": 11.7, "shapenet": 33.8, "scannet": 45.3}.items():
        row = [published[domain, "test", c] for c in CLASSES]
        assert round(100 * max(row) / sum(row), 1) == floor


@pytest.fixture
def full(tmp_path):
    """As many files and labels as published, without clouds in them."""
    for (domain, split, name), n in published_counts().items():
        if domain == "modelnet" and split in ("train", "test"):
            folder = tmp_path / domain / name / split
            folder.mkdir(parents=True)
            for i in range(n):
                (folder / f"{name}_{i:04}.npy").touch()
    (tmp_path / "scannet").mkdir()
    for split in ("train", "test"):
        label = np.repeat(np.arange(10), [published_counts()["scannet", split, c] for c in CLASSES])
        for i, part in enumerate(np.split(label, range(2048, len(label), 2048))):
            with h5py.File(tmp_path / "scannet" / f"{split}_{i}.h5", "w") as file:
                file["label"] = part
    return tmp_path


def wrong(rows):
    return [row for row in rows if row.missing or row.extra]


def test_a_complete_tree_passes_and_each_defect_is_named(full):
    assert (full / "scannet" / "train_2.h5").exists()
    for domain in ("modelnet", "scannet"):
        rows = verify(str(full), domain)
        assert not wrong(rows) and len(rows) == 20
        assert sum(row.found for row in rows) == sum(TOTALS[domain][:2])

    (full / "modelnet" / "lamp" / "test" / "lamp_0003.npy").unlink()
    (full / "modelnet" / "bed" / "train" / "bed_9999.npy").touch()
    (full / "modelnet" / "bed" / "train" / "._bed_0000.npy").touch()  # hidden: not an object
    (full / "modelnet" / "desk" / "train").mkdir(parents=True)
    (full / "modelnet" / "desk" / "train" / "desk_0.npy").touch()
    assert wrong(verify(str(full), "modelnet")) == [
        Count("modelnet train", "bed", 515, 516),
        Count("modelnet test", "lamp", 20, 19),
        Count("modelnet train", "desk", 0, 1),
    ]
    (full / "scannet" / "test_0.h5").unlink()
    assert {(row.group, row.found) for row in wrong(verify(str(full), "scannet"))} == {("scannet test", 0)}


def test_a_missing_folder_misses_all(tmp_path):
    rows = verify(str(tmp_path), "shapenet")
    assert sum(row.missing for row in rows) == 17378 + 2492


def test_bad_labels_name_the_file(tmp_path):
    (tmp_path / "scannet").mkdir()
    (tmp_path / "scannet" / "train_0.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"scannet/train_0\.h5: truncated or not an h5 file.*Re-extract"):
        verify(str(tmp_path), "scannet")
