import os
import shutil

import h5py
import numpy as np
import pytest

from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets import pointda
from smdsb_jax.datasets.domain import normalize, y_to_z_up
from smdsb_jax.datasets.pointda import CLASSES, DOMAINS, PLANT, load, write_cache
from tests.datasets.pointda_tree import write_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Read only."""
    return write_tree(tmp_path_factory.mktemp("pointda"), objects_per_class=5)


@pytest.fixture
def small(tmp_path):
    """To be changed by the test."""
    return write_tree(tmp_path / "PointDA_data", objects_per_class=3, seed=1)


def same(a, b):
    return all(
        np.array_equal(x, y)
        for p, q in zip(a.splits, b.splits, strict=True)
        for x, y in zip(p, q, strict=True)
    )


def test_classes_are_alphabetical():
    assert list(CLASSES) == sorted(CLASSES) and len(CLASSES) == 10


@pytest.mark.parametrize(("domain", "stored"), [("modelnet", 2048), ("shapenet", 1024), ("scannet", 2048)])
def test_shapes_and_types(tree, domain, stored):
    result = load(str(tree), domain, points=1024)
    assert result.name == domain and result.classes == CLASSES
    # 50 training objects: 10 of them validate; 1 per class for the test
    assert [part.points.shape for part in result.splits] == [
        (40, stored, 3),
        (10, stored, 3),
        (10, stored, 3),
    ]
    for part in result.splits:
        assert part.points.dtype == np.float32 and part.label.dtype == np.int32
        points = part.points.astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(points, axis=2).max(1), 1, atol=1e-6)
        np.testing.assert_allclose(points.mean(1), 0, atol=1e-6)


def expected(path):
    """Columns 0 to 2 of a stored cloud, normalized, by plain numpy."""
    points = np.load(path)[:, :3].astype(np.float64)
    points -= points.mean(0)
    return points / np.sqrt((points**2).sum(1)).max()


@pytest.mark.parametrize("domain", ["modelnet", "shapenet"])
def test_npy_domains_by_hand(tree, domain):
    result = load(str(tree), domain, points=1024)
    for split, part_of_index in (
        ("train", lambda i: result.val if i % 10 >= 8 else result.train),
        ("test", None),
    ):
        paths = sorted(str(p) for p in (tree / domain).rglob(f"{split}/*.npy"))
        seen = {id(result.train): 0, id(result.val): 0, id(result.test): 0}
        for i, path in enumerate(paths):
            part = part_of_index(i) if part_of_index else result.test
            row = seen[id(part)]
            seen[id(part)] += 1
            name = path.split(os.sep)[-3]
            cloud = expected(path)
            if domain == "shapenet" and name != "plant":
                cloud = np.stack([cloud[:, 0], -cloud[:, 2], cloud[:, 1]], 1)
            assert part.label[row] == CLASSES.index(name)
            np.testing.assert_allclose(part.points[row], cloud, atol=1e-6)


def test_scannet_by_hand(tree):
    result = load(str(tree), "scannet", points=1024)
    data, label = [], []
    for name in ("train_0.h5", "train_1.h5"):
        with h5py.File(tree / "scannet" / name) as file:
            data.append(np.array(file["data"]))
            label.append(np.array(file["label"]))
    data, label = np.concatenate(data)[:, :, :3], np.concatenate(label)
    validates = np.arange(len(label)) % 10 >= 8
    np.testing.assert_array_equal(result.train.label, label[~validates])
    np.testing.assert_array_equal(result.val.label, label[validates])
    data -= data.mean(1, keepdims=True)
    data /= np.linalg.norm(data, axis=2).max(1)[:, None, None]
    aligned = np.stack([data[..., 0], -data[..., 2], data[..., 1]], -1)
    np.testing.assert_allclose(result.train.points, aligned[~validates], atol=2e-6)


def test_all_domains_come_out_z_up(tree):
    # a table's top is above its leg: most of the points lie above the middle of its height
    for domain in DOMAINS:
        part = load(str(tree), domain, points=64).train
        tables = part.points[part.label == CLASSES.index("table")]
        z = tables[..., 2]
        middle = (z.min(1, keepdims=True) + z.max(1, keepdims=True)) / 2
        assert (z > middle).mean() > 0.6, domain


def test_h5_files_in_lexical_order_and_both_label_shapes(small):
    before = load(str(small), "scannet", points=64)
    folder = small / "scannet"
    with h5py.File(folder / "train_1.h5", "r+") as file:
        label = np.array(file["label"])
        del file["label"]
        file["label"] = label[:, None]
    assert same(before, load(str(small), "scannet", points=64))
    (folder / "train_files.txt").unlink()
    # train_10 comes before train_9, as in the published loaders
    (folder / "train_1.h5").rename(folder / "train_9.h5")
    (folder / "train_0.h5").rename(folder / "train_10.h5")
    assert same(before, load(str(small), "scannet", points=64))
    (folder / "train_9.h5").rename(folder / "train_1.h5")
    assert not same(before, load(str(small), "scannet", points=64))


def test_plant_exception(tree):
    kept = load(str(tree), "shapenet", points=64)
    turned = load(str(tree), "shapenet", points=64, plant_exception=False)
    for a, b in zip(kept.splits, turned.splits, strict=True):
        plant = a.label == PLANT
        np.testing.assert_array_equal(a.points[~plant], b.points[~plant])
        np.testing.assert_array_equal(y_to_z_up(a.points[plant]), b.points[plant])
        assert plant.any()
    for domain in ("modelnet", "scannet"):
        one, other = (load(str(tree), domain, points=64, plant_exception=e) for e in (True, False))
        assert same(one, other)


def test_further_columns_and_hidden_files_do_not_matter(small):
    before = load(str(small), "modelnet", points=64)
    path = small / "modelnet" / "bed" / "train" / "bed_0000.npy"
    np.save(path, np.hstack([np.load(path), np.full((2048, 4), np.nan, np.float32)]))
    (path.parent / "._bed_0000.npy").write_bytes(b"resource fork")
    (small / "modelnet" / ".thumbs").mkdir()
    (small / "modelnet" / "readme.txt").touch()
    assert same(before, load(str(small), "modelnet", points=64))


@pytest.mark.parametrize(
    "path, words",
    [
        ("modelnet/desk/train/desk_0000.npy", "modelnet/desk is no class of PointDA-10."),
        ("modelnet/bed/validation/bed_0000.npy", "modelnet/bed/validation is no file of PointDA-10."),
        ("modelnet/bed/train/bed_0000.ply", "modelnet/bed/train/bed_0000.ply is no file of PointDA-10."),
        ("scannet/test_extra.h5", "scannet/test_extra.h5: test_files.txt does not name it."),
    ],
)
def test_files_that_are_not_of_the_archive_are_refused_by_name(small, path, words):
    (small / path).parent.mkdir(parents=True, exist_ok=True)
    (small / path).touch()
    with pytest.raises(ValueError) as error:
        load(str(small), path.split("/")[0], points=64)
    assert str(error.value).startswith(f"{small}/{words} Re-extract") and "\n" not in str(error.value)


def test_an_h5_file_that_the_list_names_must_be_there(small):
    (small / "scannet" / "train_1.h5").unlink()
    with pytest.raises(ValueError, match="scannet/train_1.h5 is missing; train_files.txt names it: restore"):
        load(str(small), "scannet", points=64)
    (small / "scannet" / "train_files.txt").write_text(".\\train_0.h5\r\n\n")
    assert pointda.sources(str(small), "scannet") == [
        small / "scannet" / f"{s}_0.h5" for s in ("train", "test")
    ]


def test_clouds_of_other_sizes(small):
    folder = small / "modelnet" / "bed" / "train"
    original = np.load(folder / "bed_0000.npy")
    np.save(folder / "bed_0000.npy", original[:1])
    result = load(str(small), "modelnet", points=1024)
    assert result.train.points.shape[1] == 2048
    bed = result.train.points[result.train.label == CLASSES.index("bed")]
    np.testing.assert_array_equal(bed[0], 0)  # one point: coincident
    cloud = normalize(np.load(folder / "bed_0001.npy"))
    np.testing.assert_array_equal(bed[1], cloud)  # whole: each epoch samples 1,024 of all 2,048 points


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_cache_gives_the_same_to_the_bit(tree, domain, tmp_path):
    for points, exception in ((1024, True), (1500, False), (4096, True)):
        raw = load(str(tree), domain, points=points, plant_exception=exception)
        write_cache(str(tree), domain, str(tmp_path))
        cached = load(str(tree), domain, points=points, plant_exception=exception, cache=str(tmp_path))
        assert same(raw, cached) and raw[:2] == cached[:2]


def test_the_cache_is_used_when_it_is_there(small, monkeypatch):
    raw = load(str(small), "scannet", points=64)
    write_cache(str(small), "scannet")
    monkeypatch.setattr(pointda, "read", None)  # the raw files are not read again
    assert same(raw, load(str(small), "scannet", points=64))


def test_the_cache_survives_its_raw_folder_and_a_move(small, tmp_path):
    raw = load(str(small), "modelnet", points=64)
    write_cache(str(small), "modelnet")
    moved = tmp_path / "elsewhere"
    shutil.copytree(small, moved)  # keeps times
    assert same(raw, load(str(moved), "modelnet", points=64))
    for path in (moved / "modelnet").rglob("*.npy"):
        path.unlink()
    assert same(raw, load(str(moved), "modelnet", points=64))  # empty folders
    shutil.rmtree(moved / "modelnet")
    assert same(raw, load(str(moved), "modelnet", points=64))


def add(folder):
    shutil.copy(folder / "bed_0000.npy", folder / "bed_0007.npy")


def remove(folder):
    (folder / "bed_0001.npy").unlink()


def change(folder):
    np.save(folder / "bed_0001.npy", np.load(folder / "bed_0001.npy") + 1)
    os.utime(folder / "bed_0001.npy", (2e9, 2e9))  # the test is faster than the clock's second


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (add, "1 file added .first: modelnet/bed/train/bed_0007"),
        (remove, "1 file removed"),
        (change, "1 file changed"),
    ],
)
def test_a_stale_cache_is_refused_with_what_changed(small, act, said):
    write_cache(str(small), "modelnet")
    act(small / "modelnet" / "bed" / "train")
    remedy = rf"Write it again with smdsb prepare --data {small}, or delete it\."
    with pytest.raises(
        ValueError, match=rf"cache/modelnet\.npz is not of the files in .*: {said}.*\. {remedy}"
    ):
        load(str(small), "modelnet", points=64)
    write_cache(str(small), "modelnet")
    load(str(small), "modelnet", points=64)


def test_a_bad_cache_is_refused_with_the_command_that_renews_it(small, tmp_path):
    (tmp_path / "modelnet.npz").write_bytes(b"PK")
    message = rf"modelnet\.npz: truncated .* --data {small} --cache {tmp_path}, or delete it"
    with pytest.raises(ValueError, match=message):
        load(str(small), "modelnet", points=64, cache=str(tmp_path))


def test_a_file_that_changes_while_the_cache_is_written_makes_it_stale(small, monkeypatch):
    original = pointda.read

    def read_slowly(*args):
        result = original(*args)
        change(small / "modelnet" / "bed" / "train")
        return result

    monkeypatch.setattr(pointda, "read", read_slowly)
    write_cache(str(small), "modelnet")
    sources = caches.read(caches.path_of(str(small), "modelnet"), "").sources
    assert sources["modelnet/bed/train/bed_0001.npy"][1] < 2e9


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_missing_folder_names_the_layout_and_offers_the_embedded_data(tmp_path, domain):
    layout = r"\{modelnet,shapenet\}/<class>/\{train,test\}/\*\.npy and scannet/\{train,test\}_\*\.h5"
    message = rf"nowhere/{domain} is missing\. Expected .*nowhere/{layout}.*--config configs/embedded\.py:s2c"
    with pytest.raises(ValueError, match=message):
        load(str(tmp_path / "nowhere"), domain, points=64)
    with pytest.raises(ValueError, match=rf"config\.data\.root is empty: .* {domain} is missing"):
        load("", domain, points=64)
    (tmp_path / "empty" / domain).mkdir(parents=True)
    with pytest.raises(ValueError, match=rf"empty/{domain} holds no objects\. Expected"):
        load(str(tmp_path / "empty"), domain, points=64)


def test_an_unknown_domain_is_refused_with_the_known_ones(tree):
    with pytest.raises(
        ValueError, match=r"no domain 'modlnet'. Did you mean 'modelnet'. Known: modelnet, scannet"
    ):
        load(str(tree), "modlnet", points=64)


def test_an_empty_class_is_refused_by_name(small):
    shutil.rmtree(small / "shapenet" / "lamp" / "train")
    with pytest.raises(ValueError, match=r"Domain 'shapenet': no training objects of class lamp\."):
        load(str(small), "shapenet", points=64)


def test_bad_files_are_named_and_counted(small):
    folder = small / "modelnet" / "chair" / "train"
    for name in ("chair_0001.npy", "chair_0002.npy"):
        (folder / name).write_bytes((folder / name).read_bytes()[:500])
    message = (
        rf"{folder}/chair_0001\.npy: truncated or corrupt\. .*--data {small} --verify .*1 more bad files"
    )
    with pytest.raises(ValueError, match=message):
        load(str(small), "modelnet", points=64)


def test_a_bad_h5_is_named(small):
    path = small / "scannet" / "test_0.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"scannet/test_0\.h5: truncated or not an h5 file"):
        load(str(small), "scannet", points=64)


def test_progress_sees_every_file(tree):
    seen = []

    def progress(files):
        for path in files:
            seen.append(path.name)
            yield path

    pointda.read(str(tree), "scannet", progress)
    assert seen == ["train_0.h5", "train_1.h5", "test_0.h5"]
