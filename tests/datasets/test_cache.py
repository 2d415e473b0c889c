import os

import numpy as np
import pytest

from smdsb_jax.datasets import cache
from smdsb_jax.datasets.domain import collect, normalize


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    clouds = [normalize(rng.normal(size=(p, 3)).astype(np.float32)) for p in (5, 9, 7)]
    return collect(
        clouds, [2, 0, 1], [0, 2, 1], "here", [np.array([p, 2, 3.5]) for p in (5, 9, 7)], ["å", "b c", "d"]
    )


SOURCES = {"d/chair/train/a b.npy": (128, 1_700_000_000), "d/chair/train/c.npy": (64, 5)}


def test_round_trip_to_the_bit(tmp_path, ragged):
    path = tmp_path / "new" / "folder" / "d.npz"
    cache.write(path, ragged, SOURCES, ("chair", "wärm", "z"))
    back, sources, classes = cache.read(path, "")
    assert sources == SOURCES and classes == ("chair", "wärm", "z")
    for name in ragged._fields:
        mine, its = getattr(back, name), getattr(ragged, name)
        assert mine.dtype == its.dtype
        np.testing.assert_array_equal(mine, its)


def test_a_cache_of_before_has_no_classes_extents_and_names(tmp_path, ragged):
    path = tmp_path / "d.npz"
    cache.write(path, ragged._replace(extent=None, name=None), SOURCES)
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file if name != "classes"})
    back, _, classes = cache.read(path, "")
    assert classes == () and back.extent is None and back.name is None
    np.testing.assert_array_equal(back.points, ragged.points)


def test_the_file_is_not_compressed_and_no_other_is_left(tmp_path, ragged):
    cache.write(tmp_path / "d.npz", ragged, SOURCES)
    assert os.listdir(tmp_path) == ["d.npz"]
    assert ragged.points.tobytes() in (tmp_path / "d.npz").read_bytes()


def test_a_failed_write_leaves_the_old_cache(tmp_path, ragged, monkeypatch):
    path = tmp_path / "d.npz"
    cache.write(path, ragged, SOURCES)
    before = path.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        cache.write(path, ragged, {})
    assert os.listdir(tmp_path) == ["d.npz"] and path.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_cache_is_refused_by_name(tmp_path, ragged, share):
    path = tmp_path / "d.npz"
    cache.write(path, ragged, SOURCES)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"d\.npz: truncated or not a cache of this library\. Do this\."):
        cache.read(path, "Do this.")


def test_a_changed_byte_is_refused(tmp_path, ragged):
    path = tmp_path / "d.npz"
    cache.write(path, ragged, SOURCES)
    content = bytearray(path.read_bytes())
    content[content.index(ragged.points.tobytes()) + 10] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"d\.npz: truncated or not"):
        cache.read(path, "")


def test_another_file_and_another_version_are_refused_by_name(tmp_path, ragged, monkeypatch):
    np.savez(tmp_path / "d.npz", version=np.array(cache.VERSION), x=np.zeros(3))
    with pytest.raises(ValueError, match=r"d\.npz: truncated or not a cache"):
        cache.read(tmp_path / "d.npz", "")
    monkeypatch.setattr(cache, "VERSION", 99)
    cache.write(tmp_path / "d.npz", ragged, SOURCES)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"d\.npz: a cache of version 99, not 1\. Do this\."):
        cache.read(tmp_path / "d.npz", "Do this.")


def test_manifest_and_difference(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"12345")
    files = [tmp_path / name for name in ("a", "b", "c")]
    old = cache.manifest(tmp_path, files)
    assert old.keys() == {"a", "b", "c"} and old["a"][0] == 5
    assert cache.difference(old, cache.manifest(tmp_path, files)) == ""
    (tmp_path / "b").write_bytes(b"1234567")
    os.utime(tmp_path / "c", (5, 5))  # same size, another time
    (tmp_path / "e").touch()
    new = cache.manifest(tmp_path, [*files[1:], tmp_path / "e"])
    expected = "1 file added (first: e), 1 file removed (first: a), 2 files changed (first: b)"
    assert cache.difference(old, new) == expected


def test_manifest_of_a_relative_root(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").touch()
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    roots = [Path("."), Path("sub/.."), tmp_path, Path(f"{tmp_path}/")]
    for root in roots:
        assert list(cache.manifest(root, [root / "sub" / "a"])) == ["sub/a"]


@pytest.mark.parametrize(
    "name, value",
    [
        ("points", np.zeros((21, 2))), ("points", np.full((21, 3), np.nan)), ("points", np.array("a")),
        ("count", np.array([5, 9, 8])), ("count", np.array([-5, 19, 7])), ("label", np.zeros(2, int)),
        ("label", np.full(3, 9)), ("label", np.full(3, -2)), ("split", np.array([0, 2, 1])),
        ("split", np.array([0, 1, 3])), ("split", np.zeros((0, 3, 2))), ("extent", np.zeros(3)),
        ("name", np.zeros(3)),
    ],
)  # fmt: skip
def test_arrays_that_do_not_belong_together_are_refused(tmp_path, ragged, name, value):
    path = tmp_path / "d.npz"
    cache.write(path, ragged, SOURCES, ("a", "b", "c"))
    with np.load(path) as file:
        np.savez(path, **{**file, name: value})
    with pytest.raises(ValueError, match=r"d\.npz: its arrays do not belong together\. Do this\."):
        cache.read(path, "Do this.")


@pytest.mark.parametrize("classes", [np.array("a"), np.zeros(3), np.array([["a", "b", "c"]])])
def test_classes_that_are_no_names_are_refused(tmp_path, ragged, classes):
    path = tmp_path / "d.npz"
    cache.write(path, ragged, SOURCES)
    with np.load(path) as file:
        np.savez(path, **{**file, "classes": classes})
    with pytest.raises(ValueError, match=r"d\.npz: truncated or not a cache"):
        cache.read(path, "")
