import shutil

import h5py
import numpy as np
import pytest

from smdsb_jax.datasets.domain import normalize
from smdsb_jax.datasets.folder import load, train_or_val_by_class, validates, write_cache

RNG = np.random.default_rng(0)


def add(root, split, name, files, points=20):
    folder = root / "lab" / split / name
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        np.save(folder / f"{i:03}.npy", RNG.normal(size=(points, 4)).astype(np.float32) * [1, 2, 3, 9] + 5)


@pytest.fixture
def root(tmp_path):
    for name, files in (("mug", 12), ("bowl", 9)):
        add(tmp_path, "train", name, files)
        add(tmp_path, "test", name, 2)
    return tmp_path


def test_classes_sorted_clouds_normalized_and_the_rule_divides_train(root):
    domain = load(str(root), "lab", points=16)
    assert domain.name == "lab" and domain.classes == ("bowl", "mug")
    # of 9 bowls the 5th and 9th validate, of 12 mugs the 6th and 12th
    assert domain.val.label.tolist() == [0, 0, 1, 1]
    assert domain.train.label.tolist() == [0] * 7 + [1] * 10
    assert domain.test.label.tolist() == [0, 0, 1, 1]
    expected = normalize(np.load(root / "lab" / "train" / "bowl" / "004.npy")[:, :3])
    np.testing.assert_array_equal(domain.val.points[0], expected)  # not turned, all 20 points


def test_every_class_of_two_or_more_validates_and_trains():
    assert np.flatnonzero(validates(10)).tolist() == [4, 9]
    for n in range(2, 60):
        count = validates(n).sum()
        assert 1 <= count < n and abs(count - n / 5) <= (0.5 if n > 2 else 0.6)
    assert validates(1).tolist() == [False] and validates(0).tolist() == []
    # eight clouds in each of ten classes: two of all classes together had none
    split = np.array(train_or_val_by_class(np.repeat(np.arange(10), 8).tolist())).reshape(10, 8)
    assert (split.sum(axis=1) == 2).all()
    mixed = train_or_val_by_class([1, 0, 1, 0, 2])  # any order; a single cloud trains
    assert mixed == [0, 0, 1, 1, 0]


def test_a_val_folder_replaces_the_rule(root):
    add(root, "val", "mug", 3)
    domain = load(str(root), "lab", points=16)
    assert len(domain.train.label) == 21 and domain.val.label.tolist() == [1, 1, 1]


def test_mixed_sizes_are_brought_to_the_largest_or_to_the_points_asked(root):
    add(root, "train", "mug", 1, points=7)
    assert load(str(root), "lab", points=16).train.points.shape == (17, 20, 3)  # as the largest
    assert load(str(root), "lab", points=32).train.points.shape == (17, 32, 3)


def test_hidden_and_foreign_files_do_not_matter(root):
    before = load(str(root), "lab", points=16)
    (root / "lab" / "train" / ".cache").mkdir()
    (root / "lab" / "train" / "README").touch()
    (root / "lab" / "train" / "mug" / "._000.npy").touch()
    (root / "lab" / "train" / "mug" / "000.jpg").touch()
    after = load(str(root), "lab", points=16)
    assert after.classes == before.classes and len(after.train.label) == len(before.train.label)


def test_missing_folders_name_the_layout_and_the_domains_there(root, tmp_path):
    layout = r"\{train,test\}/<class>/\*"
    with pytest.raises(ValueError, match=rf"labb has no train folder.*{layout}.*mean 'lab'. Known: lab\."):
        load(str(root), "labb", points=16)
    instead = r"train on the data that comes with the library: --config configs/embedded\.py:s2c"
    with pytest.raises(ValueError, match=rf"config\.data\.root is empty: .* lab/{layout}.*{instead}"):
        load("", "lab", points=16)
    with pytest.raises(ValueError, match=rf"Expected .*nowhere/lab/{layout}.*{instead}"):
        load(str(tmp_path / "nowhere"), "lab", points=16)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match=rf"Expected .*bare/lab/{layout}.*{instead}"):
        load(str(tmp_path / "bare"), "lab", points=16)
    shutil.rmtree(root / "lab" / "test")
    assert len(load(str(root), "lab", points=16).test.label) == 0
    shutil.rmtree(root / "lab" / "train")
    with pytest.raises(ValueError, match=rf"lab has no train folder.*{instead}"):
        load(str(root), "lab", points=16)


def test_clouds_without_classes(tmp_path):
    add(tmp_path, "train", ".", 7)
    domain = load(str(tmp_path), "lab", points=16)
    assert domain.classes == () and domain.train.label.tolist() == [-1] * 7  # none is set apart
    add(tmp_path, "test", "mug", 2)
    add(tmp_path, "test", "bowl", 1)
    domain = load(str(tmp_path), "lab", points=16)
    assert domain.classes == ("bowl", "mug") and domain.test.label.tolist() == [0, 1, 1]
    assert domain.train.label.tolist() == [-1] * 7


def test_clouds_without_classes_beside_others(root):
    add(root, "train", "unlabelled", 3)
    domain = load(str(root), "lab", points=16)
    assert domain.classes == ("bowl", "mug")
    assert domain.train.label.tolist() == [0] * 7 + [1] * 10 + [-1] * 3
    add(root, "train", ".", 1)
    words = r"train/000\.npy lies beside class folders \(bowl, mug, unlabelled\)\. Move it .*train/unlabelled"
    with pytest.raises(ValueError, match=words):
        load(str(root), "lab", points=16)


def test_bad_input_is_refused_by_name(root):
    bad = root / "lab" / "test" / "mug" / "001.npy"
    np.save(bad, np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match=r"test/mug/001\.npy: 5 of 5 points are NaN\. Export it again"):
        load(str(root), "lab", points=16)
    bad.unlink()
    (root / "lab" / "train" / "jar").mkdir()
    with pytest.raises(ValueError, match=r"Domain 'lab': no training objects of class jar\."):
        load(str(root), "lab", points=16)
    (root / "lab" / "train" / "jar").rmdir()
    add(root, "test", "pot", 1)
    with pytest.raises(
        ValueError, match=r"test/pot is a class that the train split lacks \(it has bowl, mug\)"
    ):
        load(str(root), "lab", points=16)


def test_empty_splits(tmp_path):
    (tmp_path / "lab" / "train").mkdir(parents=True)
    (tmp_path / "lab" / "test").mkdir()
    with pytest.raises(ValueError, match=r"lab holds no clouds\. Expected .*lab/\{train,test\}/<class>/"):
        load(str(tmp_path), "lab", points=16)


def write_h5(path, clouds, label=None):
    with h5py.File(path, "w") as file:
        file["data"] = clouds
        if label is not None:
            file["label"] = label


def test_h5_files_with_labels(tmp_path):
    (tmp_path / "lab").mkdir()
    clouds = RNG.normal(size=(12, 20, 3)).astype(np.float32)
    write_h5(tmp_path / "lab" / "training_objectdataset.h5", clouds[:10], [0] * 5 + [1] * 5)
    write_h5(tmp_path / "lab" / "test_objectdataset.h5", clouds[10:], [1, 0])
    with pytest.raises(
        ValueError, match=r"training_objectdataset\.h5 has labels as numbers: .*lab/classes\.txt"
    ):
        load(str(tmp_path), "lab", points=16)
    (tmp_path / "lab" / "classes.txt").write_text("mug\nbowl\n")
    domain = load(str(tmp_path), "lab", points=16)
    assert domain.classes == ("mug", "bowl") and domain.test.label.tolist() == [1, 0]
    assert domain.train.label.tolist() == [0] * 4 + [1] * 4 and domain.val.label.tolist() == [0, 1]
    np.testing.assert_array_equal(domain.test.points, normalize(clouds[10:]))
    assert domain.origin.name[-1] == "test_objectdataset.h5[1]"
    write_h5(tmp_path / "lab" / "test_objectdataset.h5", clouds[10:], [1, 2])
    with pytest.raises(
        ValueError, match=r"test_objectdataset\.h5: label 2 is outside 0\.\.1\. .*classes\.txt has 2 lines"
    ):
        load(str(tmp_path), "lab", points=16)
    write_h5(tmp_path / "lab" / "test_objectdataset.h5", clouds[10:], [1, 0, 1])
    with pytest.raises(ValueError, match=r"test_objectdataset\.h5: 2 clouds, 3 labels\."):
        load(str(tmp_path), "lab", points=16)
    write_h5(tmp_path / "lab" / "test_objectdataset.h5", clouds[10:])
    assert load(str(tmp_path), "lab", points=16).test.label.tolist() == [-1, -1]


def test_several_clouds_in_the_file_of_a_class(root):
    write_h5(root / "lab" / "test" / "mug" / "more.h5", RNG.normal(size=(3, 9, 3)))
    domain = load(str(root), "lab", points=16)
    assert domain.test.label.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert domain.origin.count[-3:].tolist() == [9] * 3


def test_y_is_turned_up_in_the_domains_named(root):
    as_it_lies, turned = (load(str(root), "lab", points=16, y_up=name) for name in ("", "lab"))
    np.testing.assert_array_equal(
        turned.test.points, as_it_lies.test.points[..., [0, 2, 1]] * np.float32([1, -1, 1])
    )
    (root / "other").mkdir()
    again = load(str(root), "lab", points=16, y_up="other")
    np.testing.assert_array_equal(again.test.points, as_it_lies.test.points)
    with pytest.raises(ValueError, match=r"config\.data\.y_up: .* has no domain 'labb'\. Did you mean 'lab'"):
        load(str(root), "lab", points=16, y_up="other+labb")


def test_what_a_domain_came_from(root):
    np.save(
        root / "lab" / "test" / "mug" / "wide.npy", np.array([[5e6, 0, 1], [5e6 + 3, 1, 1.5], [5e6, 0, 1]])
    )
    (root / "lab" / "test" / "mug" / "notes.doc").touch()
    origin = load(str(root), "lab", points=16).origin
    assert origin.name[0] == "train/bowl/000.npy" and origin.name[-1] == "test/mug/wide.npy"
    assert origin.count.tolist() == [20] * 25 + [3] and origin.skipped == {".doc": 1}
    np.testing.assert_allclose(origin.extent[-1], [3, 1, 0.5])


def test_a_cache_gives_the_same_and_tells_what_has_changed(root, tmp_path):
    (root / "lab" / "test" / "mug" / "notes.doc").touch()
    before = load(str(root), "lab", points=16)
    write_cache(str(root), "lab")
    write_cache(str(root), "lab", str(tmp_path / "fast"))
    for cache in ("", str(tmp_path / "fast")):
        after = load(str(root), "lab", points=16, cache=cache)
        assert after.classes == before.classes and after.origin.skipped == {".doc": 1}
        assert after.origin.name == before.origin.name
        for a, b in zip(after.splits, before.splits, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            np.testing.assert_array_equal(a.label, b.label)
    add(root, "test", "mug", 3)
    with pytest.raises(ValueError, match=r"lab\.npz is not of the files .*1 file added.*prepare --data "):
        load(str(root), "lab", points=16)
    shutil.rmtree(root / "lab")  # to save space
    np.testing.assert_array_equal(load(str(root), "lab", points=16).val.points, before.val.points)


def test_all_bad_files_are_counted(root):
    for name in ("000", "001"):
        (root / "lab" / "test" / "mug" / f"{name}.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mug/000\.npy: is empty.*\(1 more bad files in .*lab\.\)$"):
        load(str(root), "lab", points=16)
