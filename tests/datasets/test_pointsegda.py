import pickle
import shutil

import numpy as np
import pytest

from smdsb_jax.datasets.pointsegda import DOMAINS, PARTS, load, read
from tests.datasets.pointsegda_tree import body, write_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Read only."""
    return write_tree(tmp_path_factory.mktemp("pointsegda"))


@pytest.fixture
def small(tmp_path):
    """To be changed by the test."""
    return write_tree(tmp_path, seed=1)


def test_parts_are_in_the_published_order():
    assert PARTS[0] == "head" and PARTS[4] == "torso" and PARTS[7] == "foot" and len(PARTS) == 8


@pytest.mark.parametrize("domain", DOMAINS)
def test_points_and_labels_are_those_of_the_files(tree, domain):
    result = load(str(tree), domain, points=64)
    assert (result.name, result.classes) == (domain, PARTS)
    names = []
    for name, part in zip(("train", "val", "test"), result.splits, strict=True):
        paths = sorted((tree / domain / name).iterdir())
        names += [f"{name}/{path.name}" for path in paths]
        stored = np.stack([np.load(path) for path in paths])
        assert part.points.dtype == np.float32 and part.label.dtype == np.int32
        np.testing.assert_array_equal(part.points, stored[..., :3].astype(np.float32))  # to the bit
        np.testing.assert_array_equal(part.label, stored[..., 3] - 1)
        assert set(part.label.ravel()) == set(range(8))
    assert [len(part.label) for part in result.splits] == [3, 1, 2]
    assert list(result.origin.name) == names and (result.origin.count == 64).all()
    first = np.load(tree / domain / "train" / "000.npy")[:, :3]
    np.testing.assert_allclose(result.origin.extent[0], first.max(0) - first.min(0), rtol=1e-6)


def test_two_shapes_of_the_published_size(tmp_path):
    rng = np.random.default_rng(0)
    write_tree(tmp_path, shapes=(0, 1, 1), points=2048)
    shapes = {"b.npy": body(rng, 2048), "a.npy": body(rng, 2048)}
    for name, shape in shapes.items():
        np.save(tmp_path / "PointSegDAdataset" / "adobe" / "train" / name, shape)
    train = load(str(tmp_path), "adobe", points=2048).train
    assert train.points.shape == (2, 2048, 3) and train.label.shape == (2, 2048)
    for row, name in enumerate(("a.npy", "b.npy")):  # sorted, however they were written
        np.testing.assert_array_equal(train.points[row], shapes[name][:, :3].astype(np.float32))
        np.testing.assert_array_equal(train.label[row], shapes[name][:, 3] - 1)


def test_the_folder_that_it_lies_in_and_one_of_another_name_will_do(tree, tmp_path):
    expected = load(str(tree), "mit", points=64)
    shutil.copytree(tree / "mit", tmp_path / "renamed" / "mit")
    for root in (tree.parent, tmp_path / "renamed"):
        for a, b in zip(load(str(root), "mit", points=64).splits, expected.splits, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            np.testing.assert_array_equal(a.label, b.label)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int32, np.uint8])
def test_any_number_type_further_columns_and_foreign_files_do_not_matter(small, kind):
    folder = small / "scape" / "test"
    shape = np.arange(64 * 5).reshape(64, 5) % 7 + 1
    np.save(folder / "000.npy", shape.astype(kind))
    for name in ("._000.npy", "notes.txt"):
        (folder / name).write_bytes(b"no shape")
    test = load(str(small), "scape", points=64).test
    np.testing.assert_array_equal(test.points[0], shape[:, :3])
    np.testing.assert_array_equal(test.label[0], shape[:, 3] - 1)


def test_normalization_is_asked_for_by_name(tree):
    plain, scaled = (load(str(tree), "faust", points=64, normalize=n) for n in ("none", "unit_sphere"))
    by_hand = np.load(tree / "faust" / "train" / "001.npy")[:, :3]
    by_hand -= by_hand.mean(axis=0)
    by_hand /= np.linalg.norm(by_hand, axis=1).max()
    np.testing.assert_allclose(scaled.train.points[1], by_hand, atol=1e-6)
    assert np.abs(plain.train.points[1] - by_hand).max() > 0.01
    np.testing.assert_array_equal(plain.train.label, scaled.train.label)
    np.testing.assert_array_equal(plain.origin.extent, scaled.origin.extent)  # that of the files
    with pytest.raises(
        ValueError, match=r"^config\.data\.normalize = 'sphere' is not known\..*unit_sphere\.$"
    ):
        load(str(tree), "faust", points=64, normalize="sphere")


def test_larger_shapes_are_whole_and_labels_follow_their_points(small):
    larger = body(np.random.default_rng(2), 100)
    np.save(small / "mit" / "val" / "000.npy", larger)
    result = load(str(small), "mit", points=64)
    assert result.train.points.shape == (3, 100, 3)
    np.testing.assert_array_equal(result.val.label[0], larger[:, 3] - 1)
    np.testing.assert_array_equal(result.train.points[:, 64:], result.train.points[:, :36])
    np.testing.assert_array_equal(result.train.label[:, 64:], result.train.label[:, :36])


def test_a_shape_with_fewer_points_than_the_network_sees_is_refused(tree):
    message = (
        rf"^{tree}/adobe/train/000\.npy: 64 points, fewer than config\.data\.points = 65\. Give that many or "
        rf"fewer there, or remove the shape\. \(5 more bad files in {tree}/adobe\.\)$"
    )
    with pytest.raises(ValueError, match=message):
        load(str(tree), "adobe", points=65)


def test_bad_files_are_named_with_the_remedy_and_counted(small):
    folder = small / "mit" / "train"
    (folder / "001.npy").write_bytes((folder / "001.npy").read_bytes()[:500])
    (folder / "002.npy").write_bytes(pickle.dumps([1]))
    message = (
        rf"^{folder}/001\.npy: truncated or corrupt\. Re-extract the archive; smdsb prepare "
        rf"--data {small} --verify checks all of it\. \(1 more bad files in {small}/mit\.\)$"
    )
    with pytest.raises(ValueError, match=message):
        load(str(small), "mit", points=64)


def test_a_missing_folder_or_split_names_the_layout(tree, tmp_path):
    layout = r"\{adobe,faust,mit,scape\}/\{train,val,test\}/\*\.npy"
    expected = rf"Expected .*/{layout}, the published PointSegDA\. Without it, .* configs/bodies\.py:m2s$"
    with pytest.raises(
        ValueError, match=rf"^config\.data\.root is empty: .* PointSegDAdataset, .*{layout}\.$"
    ):
        load("", "adobe", points=64)
    with pytest.raises(ValueError, match=rf"nowhere/adobe is missing\. {expected}"):
        load(str(tmp_path / "nowhere"), "adobe", points=64)
    shutil.copytree(tree / "adobe", tmp_path / "adobe")
    (tmp_path / "adobe" / "val" / "000.npy").unlink()
    with pytest.raises(ValueError, match=rf"adobe/val holds no \.npy files\. {expected}"):
        load(str(tmp_path), "adobe", points=64)
    shutil.rmtree(tmp_path / "adobe" / "test")
    shutil.copy(tree / "adobe" / "val" / "000.npy", tmp_path / "adobe" / "val")
    with pytest.raises(ValueError, match=rf"adobe/test is missing\. {expected}"):
        load(str(tmp_path), "adobe", points=64)


def test_an_unknown_domain_is_refused_with_the_known_ones(tree):
    with pytest.raises(
        ValueError, match=r"no domain 'Faust'\. Did you mean 'faust'\? Known: adobe, faust, mit"
    ):
        load(str(tree), "Faust", points=64)


def test_progress_sees_every_file(tree):
    seen = []

    def progress(files):
        for path in files:
            seen.append(f"{path.parent.name}/{path.name}")
            yield path

    read(str(tree), "scape", progress)
    assert seen == [
        "train/000.npy",
        "train/001.npy",
        "train/002.npy",
        "val/000.npy",
        "test/000.npy",
        "test/001.npy",
    ]
