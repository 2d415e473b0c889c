import json

import pytest

from smdsb_jax.datasets.layouts import find


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def seen(listing):
    return [(source.path.name, source.split, source.label) for source in listing.sources]


def test_by_split(tmp_path):
    touch(tmp_path, "train/mug/b.npy", "train/mug/a.npy", "train/bowl/c.npy", "train/unlabelled/d.npy")
    touch(
        tmp_path,
        "test/mug/e.npy",
        "test/mug/e.jpg",
        "test/Thumbs.db",
        "train/.cache/x.npy",
        "train/mug/._a.npy",
    )
    listing = find(tmp_path)
    assert seen(listing) == [
        ("c.npy", "train", "bowl"),
        ("a.npy", "train", "mug"),
        ("b.npy", "train", "mug"),
        ("d.npy", "train", None),
        ("e.npy", "test", "mug"),
    ]
    assert listing.classes == ("bowl", "mug") and not listing.has_val
    assert listing.skipped == {".jpg": 1, ".db": 1}  # and nothing of hidden files
    touch(tmp_path, "val/bowl/f.npy")
    assert find(tmp_path).has_val and ("f.npy", "val", "bowl") in seen(find(tmp_path))


def test_without_labels(tmp_path):
    touch(tmp_path, "train/a.npy", "train/b.npy", "train/readme.md")
    listing = find(tmp_path)
    assert seen(listing) == [("a.npy", "train", None), ("b.npy", "train", None)]
    assert listing.classes == () and listing.skipped == {".md": 1}


def test_by_class_as_modelnet40_comes(tmp_path):
    touch(tmp_path, "README.txt", "chair/train/chair_0001.off", "chair/test/chair_0890.off")
    touch(tmp_path, "bed/train/bed_0001.off", "bed/train/bed_0001.png", "bed/test/.DS_Store", "notes/x.off")
    listing = find(tmp_path)
    assert seen(listing) == [
        ("bed_0001.off", "train", "bed"),
        ("chair_0001.off", "train", "chair"),
        ("chair_0890.off", "test", "chair"),
    ]
    assert listing.classes == ("bed", "chair") and listing.skipped == {".png": 1} and not listing.has_val


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_objectdataset.h5", "test_objectdataset.h5"),
        ("ply_data_train0.h5", "ply_data_test0.h5"),
        ("train_0.h5", "test_0.H5"),
    ],
)
def test_h5_files(tmp_path, train, test):
    touch(tmp_path, train, test, "shape_names.txt", "extra.h5")
    listing = find(tmp_path)
    assert seen(listing) == [(train, "train", None), (test, "test", None)]
    assert listing.classes == () and listing.skipped[".h5"] == 1  # of no split
    (tmp_path / "classes.txt").write_text("bag\nbed \n\n")
    assert find(tmp_path).classes == ("bag", "bed") and find(tmp_path).notes == (tmp_path / "classes.txt",)
    (tmp_path / "classes.txt").write_text("bag\nbag\n")
    with pytest.raises(ValueError, match=r"classes\.txt: bag has two lines\."):
        find(tmp_path)


def synsets(root):
    touch(root, *(f"{synset}/{name}.txt" for synset in ("0269", "0277") for name in ("a", "b", "c")))
    (root / "synsetoffset2category.txt").write_text("Bag\t0277\nAirplane\t0269\n")


def test_synsets_as_shapenetpart_comes(tmp_path):
    synsets(tmp_path)
    listing = find(tmp_path)  # without lists
    assert listing.classes == ("Airplane", "Bag") and {source.split for source in listing.sources} == {
        "train"
    }
    for split, names in (("train", ["0269/a", "0277/b"]), ("val", ["0269/b"]), ("test", ["0277/a"])):
        path = tmp_path / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps([f"shape_data/{name}" for name in names]))
    listing = find(tmp_path)
    assert seen(listing) == [
        ("a.txt", "train", "Airplane"),
        ("b.txt", "train", "Bag"),
        ("b.txt", "val", "Airplane"),
        ("a.txt", "test", "Bag"),
    ]
    assert listing.has_val and listing.skipped["in no list of train_test_split"] == 2
    path.write_text('{"a": 3')
    with pytest.raises(ValueError, match=r"shuffled_test_file_list\.json: not a list of file names"):
        find(tmp_path)
    (tmp_path / "synsetoffset2category.txt").write_text("Bag\n")
    with pytest.raises(ValueError, match=r"synsetoffset2category\.txt: give a class and its folder"):
        find(tmp_path)


def test_other_folders_are_none(tmp_path):
    assert find(tmp_path / "nowhere") is None and find(tmp_path) is None
    touch(tmp_path, "a.npy", "pictures/b.npy")
    assert find(tmp_path) is None


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\udc80"])
def test_names_that_would_break_tables_are_refused(name, tmp_path):
    for place in ("train/chair", f"train/{name}"):
        (tmp_path / place).mkdir(parents=True)
    with pytest.raises(ValueError, match="a name with control characters, or no UTF-8. Rename it.") as error:
        find(tmp_path)
    assert len(str(error.value).splitlines()) == 1
    (tmp_path / f"train/{name}").rmdir()
    (tmp_path / f"train/chair/{name}.npy").touch()
    with pytest.raises(ValueError, match="a name with control characters"):
        find(tmp_path)
    with pytest.raises(ValueError, match="a name with control characters"):
        find(tmp_path / name)


def test_class_names_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"classes\.txt: is no text in UTF-8"):
        find(tmp_path)
