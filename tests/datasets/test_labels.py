import numpy as np
import pytest

from smdsb_jax.datasets import embedded
from smdsb_jax.datasets.labels import with_labels, write_labels

DOMAIN = embedded.load("", "catalog", points=64)
LABELS = {
    name: split.label[::-1] for name, split in zip(("train", "val", "test"), DOMAIN.splits, strict=True)
}


def test_labels_come_back_and_points_stay(tmp_path):
    write_labels(tmp_path / "labels.npz", LABELS)
    found = with_labels(DOMAIN, str(tmp_path / "labels.npz"))
    for split, before in zip(found.splits, DOMAIN.splits, strict=True):
        np.testing.assert_array_equal(split.label, before.label[::-1])
        assert split.points is before.points and split.label.dtype == np.int32


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda labels: labels | {"val": labels["val"][1:]}, "val is int32"),
        (lambda labels: labels | {"test": labels["test"] + 100}, "test has labels outside 0 to 6"),
        (lambda labels: labels | {"train": labels["train"] - 50}, "train has labels outside 0 to 6"),
    ],
)
def test_labels_of_other_clouds_or_classes_are_refused(tmp_path, change, words):
    write_labels(tmp_path / "labels.npz", change(LABELS))
    with pytest.raises(ValueError, match=f"config.data.source_labels = .*labels.npz': {words}"):
        with_labels(DOMAIN, str(tmp_path / "labels.npz"))


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("text.npz", "absent.npz"):
        with pytest.raises(ValueError, match=f"{name}' cannot be read .* Give an npz of train, val, test"):
            with_labels(DOMAIN, str(tmp_path / name))
