import hashlib
import importlib.resources
import re

import numpy as np
import pytest

from smdsb_jax.datasets.embedded import DOMAINS, FOLDER, fold_split, load

CLASSES = ("bed", "cabinet", "chair", "lamp", "plant", "sofa", "table")
COUNTS = {
    "train": (44, 64, 90, 46, 62, 54, 70),
    "val": (8, 10, 12, 8, 9, 8, 10),
    "test": (20, 24, 36, 20, 24, 22, 28),
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_counts_classes_and_unit_sphere(domain):
    result = load("", domain, points=1024)
    assert result.name == domain and result.classes == CLASSES
    for split, counts in COUNTS.items():
        part = getattr(result, split)
        assert tuple(np.bincount(part.label)) == counts
        assert part.points.shape == (sum(counts), 1024, 3)
        assert part.points.dtype == np.float32 and part.label.dtype == np.int32
        points = part.points.astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(points, axis=2).max(1), 1, atol=1e-6)
        np.testing.assert_allclose(points.mean(1), 0, atol=1e-6)


def test_the_points_are_the_shipped_ones():
    with np.load(FOLDER / "scan.npz", allow_pickle=False) as file:
        stored, split = file["points"].astype(np.float32), file["split"]
    result = load("ignored", "scan", points=512)
    np.testing.assert_allclose(result.test.points, stored[split == 2], atol=0.01)
    more = load("", "scan", points=1500).test.points
    np.testing.assert_array_equal(more[:, 1024:], result.test.points[:, :476])


def test_every_object_is_in_one_domain_split_and_class():
    seen = {}
    for domain in DOMAINS:
        with np.load(FOLDER / f"{domain}.npz", allow_pickle=False) as file:
            for place in zip(file["object"], file["split"], file["label"], strict=True):
                assert seen.setdefault(place[0], (domain, *place[1:])) == (domain, *place[1:])
    assert len(seen) == 235


@pytest.mark.parametrize("domain", DOMAINS)
def test_folds_validate_on_each_object_once(domain):
    with np.load(FOLDER / f"{domain}.npz", allow_pickle=False) as file:
        label, objects, split = (file[key] for key in ("label", "object", "split"))
    folds = [fold_split(label, objects, split, fold) for fold in range(1, 5)]
    np.testing.assert_array_equal(sum(f == 1 for f in folds), split < 2)
    for fold, found in enumerate(folds, 1):
        np.testing.assert_array_equal(found == 2, split == 2)
        assert not set(objects[found == 0]) & set(objects[found == 1])
        assert set(label[found == 1]) == set(label[found == 0]) == set(range(7))
        assert 85 < (found == 1).sum() < 160
        loaded = load("", domain, points=8, fold=fold)
        assert [len(s.label) for s in loaded.splits] == [(found == code).sum() for code in range(3)]
        np.testing.assert_array_equal(loaded.val.label, label[found == 1])
    with pytest.raises(
        ValueError, match=r"config.data.fold = 5: 0 is the split of the files, 1 to 4 are the folds"
    ):
        load("", domain, points=8, fold=5)


def test_no_cloud_occurs_twice():
    digests = [
        hashlib.sha256(c.tobytes()).digest()
        for d in DOMAINS
        for p in load("", d, points=1).splits
        for c in p.points
    ]
    assert len(set(digests)) == len(digests) == 3 * 669


def test_the_files_are_those_of_the_readme():
    table = re.findall(
        r"^\| `([\w.]+)` \| (\d+) \| `([0-9a-f]{64})` \|$", (FOLDER / "README.md").read_text(), re.M
    )
    assert {name for name, _, _ in table} == {"catalog.npz", "blend.npz", "scan.npz", "objects.csv"}
    for name, size, digest in table:
        content = (FOLDER / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest)


def test_every_object_is_credited_and_every_licence_is_there():
    attribution, licenses = ((FOLDER / f"{name}.md").read_text() for name in ("ATTRIBUTION", "LICENSES"))
    lines = (FOLDER / "objects.csv").read_text().splitlines()[1:]
    for line in lines:
        model = line.split(",")[1].rsplit("/", 1)[-1].removesuffix(".obj")
        assert f"({model})" in attribution, model
    assert {line.split(",")[4] for line in lines} <= {"CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US"}
    for title in ("Attribution 3.0 United States", "Attribution 3.0 Unported", "CC0 1.0 Universal"):
        assert f"## Creative Commons {title}" in licenses


def test_the_data_are_package_files():
    names = {entry.name for entry in importlib.resources.files("smdsb_jax.datasets.embedded").iterdir()}
    assert {"catalog.npz", "blend.npz", "scan.npz", "objects.csv", "README.md", "ATTRIBUTION.md"} <= names


def test_an_unknown_domain_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no domain 'scam'. Did you mean 'scan'. Known: blend, catalog, scan"
    ):
        load("", "scam", points=1024)
