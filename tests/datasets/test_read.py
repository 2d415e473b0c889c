import io
import os
import pickle
import sys
import warnings

import h5py
import numpy as np
import pytest

from smdsb_jax.datasets.domain import normalize
from smdsb_jax.datasets.read import (
    MESH_POINTS,
    find_all_clouds,
    find_clouds,
    read_cloud,
    read_clouds,
    read_h5,
    read_h5_labels,
    read_labelled_npy,
    read_npy,
)
from smdsb_jax.datasets.readers import READERS

GOOD = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)


def npy_bytes(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def with_value(value, rows):
    array = GOOD.copy()
    array[rows, 1] = value
    return npy_bytes(array)


BAD = {
    "empty file": (b"", "is empty"),
    "truncated in the data": (npy_bytes(GOOD)[:-100], "truncated or corrupt"),
    "truncated in the header": (npy_bytes(GOOD)[:40], "truncated or corrupt"),
    "text": (b"0.1 0.2 0.3\n", "is not an npy file"),
    "archive": (b"PK\x03\x04 and so on", "is not an npy file"),
    "pickle": (pickle.dumps(GOOD), "is pickled"),
    "objects": (npy_bytes(np.array([GOOD, None], object), allow_pickle=True), "is pickled"),
    "strings": (npy_bytes(np.array([["a", "b", "c"]])), "holds <U1, not numbers"),
    "complex": (npy_bytes(GOOD.astype(complex)), "holds complex128, not numbers"),
    "two columns": (npy_bytes(GOOD[:, :2]), r"shape \(64, 2\), not \(points, 3 or more columns\)"),
    "transposed and flat": (npy_bytes(GOOD.ravel()), r"shape \(384,\)"),
    "a batch": (npy_bytes(GOOD[None]), r"shape \(1, 64, 6\)"),
    "no points": (npy_bytes(GOOD[:0]), "holds no points"),
    "one NaN": (with_value(np.nan, [5]), "1 of 64 points is NaN"),
    "three NaN": (with_value(np.nan, [5, 6, 9]), "3 of 64 points are NaN"),
    "infinite": (with_value(-np.inf, [5, 6]), "2 of 64 points are infinite"),
    "beyond float32": (npy_bytes(np.full((9, 3), 1e300)), "9 of 9 points are infinite"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_npy_is_refused_in_one_line_with_its_name(tmp_path, case):
    content, reason = BAD[case]
    path = tmp_path / "chair_0011.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"chair_0011\.npy: {reason}.*\. Do this\.$") as caught:
        read_npy(path, "Do this.")
    assert "\n" not in str(caught.value)


PARTS = np.hstack([GOOD[:, :3], np.arange(64)[:, None] % 8 + 1])  # x, y, z, label


def with_label(value, rows, kind=np.float64):
    array = PARTS.astype(kind)
    array[rows, 3] = value
    return npy_bytes(array)


UNLABELLED = (
    r"not \(points, 4 or more columns\); the fourth is the label\. Shapes without labels are for smdsb p"
)
NO_LABEL = "of 64 labels are no whole number from 1 to 8"
BAD_PARTS = {
    "unlabelled": (npy_bytes(PARTS[:, :3]), rf"shape \(64, 3\), {UNLABELLED}"),
    "flat": (npy_bytes(PARTS.ravel()), rf"shape \(256,\), {UNLABELLED}"),
    "a batch": (npy_bytes(PARTS[None]), rf"shape \(1, 64, 4\), {UNLABELLED}"),
    "transposed": (npy_bytes(PARTS.T), r"shape \(4, 64\) looks transposed"),
    "label 0": (with_label(0, [7, 9]), rf"2 {NO_LABEL} \(first: 0 in row 7\)"),
    "label 9": (with_label(9, [63], np.int64), rf"1 {NO_LABEL} \(first: 9 in row 63\)"),
    "label -1": (with_label(-1, [0]), rf"1 {NO_LABEL} \(first: -1 in row 0\)"),
    "between two labels": (with_label(2.5, [1]), rf"1 {NO_LABEL} \(first: 2\.5 in row 1\)"),
    "label NaN": (with_label(np.nan, [3]), rf"1 {NO_LABEL} \(first: nan in row 3\)"),
    "no points": (npy_bytes(PARTS[:0]), "holds no points"),
} | {
    case: BAD[case]
    for case in ("empty file", "truncated in the data", "text", "pickle", "objects", "one NaN", "infinite")
}


@pytest.mark.parametrize("case", BAD_PARTS)
def test_a_bad_labelled_npy_is_refused_in_one_line_with_its_name(tmp_path, case):
    content, reason = BAD_PARTS[case]
    path = tmp_path / "000.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"/000\.npy: {reason}.*\. Do this\.$") as caught:
        read_labelled_npy(path, 8, "Do this.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16, np.uint8])
def test_labels_of_points_count_from_0_and_further_columns_do_not_matter(tmp_path, dtype):
    array = np.arange(60).reshape(10, 6) % 7 + 1
    np.save(tmp_path / "a.npy", array.astype(dtype))
    points, label = read_labelled_npy(tmp_path / "a.npy", 7, "")
    np.testing.assert_array_equal(points, array[:, :3])
    np.testing.assert_array_equal(label, array[:, 3] - 1)
    assert label.dtype == np.int32


def test_a_missing_npy_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.npy: no such file\. Do this\."):
        read_npy(tmp_path / "gone.npy", "Do this.")
    with pytest.raises(ValueError, match=r"is a directory\. Do this\."):
        read_npy(tmp_path, "Do this.")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_numbers_and_any_order_are_read_exactly(tmp_path, dtype, order):
    array = np.asarray(np.arange(60).reshape(10, 6), dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    result = read_npy(tmp_path / "a.npy", "")
    np.testing.assert_array_equal(result, array[:, :3])
    exact = np.float32 if dtype in (np.float16, np.float32) else np.float64
    assert result.dtype == exact and result.flags.c_contiguous


def test_map_coordinates_keep_their_shape(tmp_path):
    cloud = np.random.default_rng(3).normal(size=(200, 3))
    np.save(tmp_path / "a.npy", cloud + np.array([4.5e5, 5.4e6, 100]))
    found = normalize(read_npy(tmp_path / "a.npy", ""))
    np.testing.assert_allclose(found, normalize(cloud), atol=1e-6)  # in float32 0.2 of the radius off


@pytest.mark.parametrize("shape", [(3, 1024), (6, 17)])
def test_coordinates_by_points_are_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ValueError, match=r"a\.npy: shape \(.*\) looks transposed: give cloud\.T\. Do this"):
        read_npy(tmp_path / "a.npy", "Do this.")
    path = write_h5(tmp_path / "a.h5", np.zeros((2, *shape)), LABEL[:2])
    with pytest.raises(ValueError, match=r"a\.h5: 'data' has shape .* looks transposed: save data\."):
        read_h5(path, 10, "Do this.")


def test_nan_in_a_further_column_does_not_matter(tmp_path):
    array = GOOD.copy()
    array[:, 3:] = np.nan
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", ""), GOOD[:, :3])


def test_damaged_bytes_are_read_or_refused_never_worse(tmp_path):
    rng, content, path = np.random.default_rng(1), npy_bytes(GOOD), tmp_path / "a.npy"
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for position in rng.integers(0, 128, rng.integers(1, 4)):  # in the header
            damaged[position] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_npy(path, "")
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 100


def write_h5(path, data=None, label=None):
    with h5py.File(path, "w") as file:
        if data is not None:
            file["data"] = data
        if label is not None:
            file["label"] = label
    return path


CLOUDS = np.random.default_rng(2).normal(size=(5, 16, 6))
LABEL = np.array([3, 0, 9, 1, 1], np.int32)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_labels_of_both_shapes_and_colors_ignored(tmp_path, shape):
    path = write_h5(tmp_path / "a.h5", CLOUDS, LABEL.reshape(shape))
    points, label = read_h5(path, 10, "")
    np.testing.assert_array_equal(points, CLOUDS[:, :, :3])
    np.testing.assert_array_equal(label, LABEL)
    np.testing.assert_array_equal(read_h5_labels(path, 10, ""), LABEL)
    assert label.dtype == np.int32


def nan_in_object_2():
    clouds = CLOUDS.copy()
    clouds[2, 7, 0] = np.nan
    return clouds


BAD_H5 = {
    "no data": (None, LABEL, "no dataset 'data', only label"),
    "no label": (CLOUDS, None, "no dataset 'label', only data"),
    "nothing": (None, None, "no dataset 'label', only nothing"),
    "lengths": (CLOUDS, LABEL[:4], "5 clouds in 'data', 4 labels in 'label'"),
    "label too large": (CLOUDS, LABEL + 1, r"label 10 is outside 0\.\.9"),
    "label negative": (CLOUDS, LABEL - 1, r"label -1 is outside 0\.\.9"),
    "float labels": (CLOUDS, LABEL.astype(float), "'label' holds float64, not integers"),
    "labels of labels": (CLOUDS, np.zeros((5, 2), int), r"'label' has shape \(5, 2\)"),
    "flat": (CLOUDS[:, :, 0], LABEL, r"'data' has shape \(5, 16\)"),
    "two columns": (CLOUDS[:, :, :2], LABEL, r"'data' has shape \(5, 16, 2\)"),
    "no points": (CLOUDS[:, :0], LABEL, "object 0: holds no points"),
    "strings": (np.full((5, 4, 3), b"x"), LABEL, r"'data' holds \|S1, not numbers"),
    "NaN": (nan_in_object_2(), LABEL, "object 2: 1 of 16 points is NaN"),
}


@pytest.mark.parametrize("case", BAD_H5)
def test_a_bad_h5_is_refused_in_one_line_with_its_name(tmp_path, case):
    data, label, reason = BAD_H5[case]
    path = write_h5(tmp_path / "train_1.h5", data, label)
    with pytest.raises(ValueError, match=rf"train_1\.h5: {reason}.*\. Do this\.$") as caught:
        read_h5(path, 10, "Do this.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 20, 1000])
def test_a_truncated_h5_is_refused_by_name(tmp_path, keep):
    path = write_h5(tmp_path / "train_1.h5", CLOUDS, LABEL)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"train_1\.h5: truncated or not an h5 file .*Do this\."):
        read_h5(path, 10, "Do this.")


def test_a_missing_h5_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.h5: no such file\. Do this\."):
        read_h5(tmp_path / "gone.h5", 10, "Do this.")


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"solid\n", b"\x00\xff\xfe" * 40, b"ply\nformat ascii 1.0\n", pickle.dumps(GOOD)]
)
def test_whatever_is_no_cloud_is_refused_in_one_line_with_its_name(tmp_path, suffix, content):
    path = tmp_path / f"scan 1{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_clouds(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < len(str(path)) + 300, said
    assert said.endswith(
        "Export it again, or save its points as a numeric array (points, 3) with numpy.save."
    )
    if not content:
        assert f"{path}: is empty. " in said


@pytest.mark.parametrize("suffix", READERS)
def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path, suffix):
    with pytest.raises(ValueError, match=rf"gone\{suffix}: no such file\. "):
        read_clouds(tmp_path / f"gone{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(ValueError, match=rf"folder\{suffix}: is a directory\. "):
        read_clouds(tmp_path / f"folder{suffix}")


def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path):
    with pytest.raises(ValueError, match=r"a\.docx: the suffix \.docx is none of \.npy, \.npz, \.ply"):
        read_clouds(tmp_path / "a.docx")
    with pytest.raises(ValueError, match=r"the suffix \(none\) is none of"):
        read_clouds(tmp_path / "a")


def test_a_missing_package_is_told_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypcd4", None)
    path = tmp_path / "scan.pcd"
    path.write_text("VERSION 0.7")
    with pytest.raises(ValueError) as caught:
        read_clouds(path)
    install = "pip install 'smdsb_jax[scans]' (or pip install pypcd4)"
    assert str(caught.value) == f"{path}: reading .pcd needs pypcd4: {install}"


@pytest.mark.parametrize("suffix, save", [(".NPY", np.save), (".npz", np.savez), (".H5", None)])
def test_several_clouds_of_a_file(tmp_path, suffix, save):
    path = tmp_path / f"a{suffix}"

    def write(array):
        if save is None:
            write_h5(path, array)
        else:
            with path.open("wb") as file:
                save(file, array)

    write(CLOUDS.astype(np.float32))
    found = read_clouds(path)
    assert len(found) == 5 and all(cloud.dtype == np.float32 for cloud in found)
    np.testing.assert_array_equal(found, CLOUDS[:, :, :3].astype(np.float32))
    with pytest.raises(
        ValueError, match=r"a\.\w+: holds 5 clouds, where one is expected\. Save each in a file"
    ):
        read_cloud(path)
    write(CLOUDS[:1])
    np.testing.assert_array_equal(read_cloud(path), CLOUDS[0, :, :3])
    write(CLOUDS[0])
    np.testing.assert_array_equal(read_cloud(path), CLOUDS[0, :, :3])
    write(nan_in_object_2())
    with pytest.raises(ValueError, match=r"a\.\w+, cloud 2: 1 of 16 points is NaN\. Export"):
        read_clouds(path)
    write(CLOUDS.transpose(0, 2, 1)[:, :, :0])
    with pytest.raises(ValueError, match=r"a\.\w+, cloud 0: shape \(6, 0\), not"):
        read_clouds(path)
    write(CLOUDS[:0])
    with pytest.raises(ValueError, match=r"a\.\w+: holds no clouds, shape \(0, 16, 6\)"):
        read_clouds(path)


def write_off(path, vertices, faces):
    lines = [f"OFF\n{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(map(repr, map(float, vertex))) for vertex in vertices]
    path.write_text("\n".join([*lines, *(f"3 {a} {b} {c}" for a, b, c in faces)]))
    return path


CORNERS = np.array([[0, 0, 1], [4, 0, 1], [0, 3, 1], [9, 0, 0]])


def test_points_are_drawn_on_a_mesh_by_the_seed_alone(tmp_path):
    path = write_off(tmp_path / "a.OFF", CORNERS, [[0, 1, 2]])
    points = read_cloud(path)
    assert points.shape == (MESH_POINTS, 3) and points.dtype == np.float64
    x, y, z = points.T
    assert (x >= 0).all() and (y >= 0).all() and (x / 4 + y / 3 <= 1 + 1e-12).all()
    np.testing.assert_allclose(z, 1)
    other = read_cloud(path, mesh_points=100, seed=1)
    assert other.shape == (100, 3) and not np.array_equal(other, read_cloud(path, mesh_points=100))
    np.testing.assert_array_equal(read_cloud(path, mesh_points=100, seed=1), other)


def test_the_vertices_of_a_file_without_faces_are_a_cloud(tmp_path):
    np.testing.assert_array_equal(read_cloud(write_off(tmp_path / "a.off", CORNERS, [])), CORNERS)


def test_a_mesh_without_area_or_with_bad_vertices_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.off: its faces have no area\. Export it again"):
        read_clouds(write_off(tmp_path / "a.off", CORNERS, [[1, 1, 2]]))
    bad = np.where(CORNERS == 9, np.nan, CORNERS)
    with pytest.raises(ValueError, match=r"a\.off: its vertices: 1 of 4 points is NaN\. Export it again"):
        read_clouds(write_off(tmp_path / "a.off", bad, [[0, 1, 2]]))


def test_files_that_can_be_read_are_found_and_the_others_counted(tmp_path):
    for name in ("b.npy", "a.PLY", "c.h5", ".hidden.npy", "d.docx", "README"):
        (tmp_path / name).touch()
    (tmp_path / "folder.npy").mkdir()
    found, others = find_clouds(tmp_path)
    assert [path.name for path in found] == ["a.PLY", "b.npy", "c.h5"]
    assert others == {".docx": 1, "README": 1}


def test_folders_are_searched_with_theirs_but_for_hidden_ones_and_none_twice(tmp_path):
    for name in (
        "b/2.npy",
        "b/deep/er/1.PLY",
        "b-c.npy",
        "a/9.npy",
        "a/.hidden.npy",
        ".git/5.npy",
        "b/.x/6.npy",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("b/x.md", "a/y.md", "README", ".git/z.md"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)  # a circle
    elsewhere = tmp_path.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "3.npy").touch()
    (tmp_path / "link").symlink_to(elsewhere)
    found, others = find_all_clouds(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "a/9.npy", "b-c.npy", "b/2.npy", "b/deep/er/1.PLY", "link/3.npy",
    ]  # fmt: skip
    assert others == {".md": 2, "README": 1}
    with pytest.raises(OSError):
        find_all_clouds(tmp_path / "absent")


def test_a_pipe_and_a_device_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    (tmp_path / "b.obj").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "c.h5")
    for read in (
        lambda: read_clouds(tmp_path / "a.npy"),
        lambda: read_clouds(tmp_path / "b.obj"),
        lambda: read_h5(tmp_path / "c.h5", 2, "Do this."),
    ):
        with pytest.raises(ValueError, match=r"[abc]\.\w+: is a pipe or a device, not a file\. "):
            read()


def test_what_a_file_says_is_told_on_one_line(tmp_path):
    head = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float \x1b\nend_header\n"
    (tmp_path / "a.ply").write_text(f"{head}1\n")
    with pytest.raises(ValueError, match=r"a\.ply: its vertices have \\x1b, not x, y and z"):
        read_clouds(tmp_path / "a.ply")


def test_an_h5_whose_object_is_damaged_is_refused_by_name(tmp_path):
    path = write_h5(tmp_path / "train_1.h5", CLOUDS, LABEL)
    with h5py.File(path) as file:
        place = h5py.h5o.get_info(file["label"].id).addr
    content = bytearray(path.read_bytes())
    content[place] = 255  # the version of the object's header
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train_1\.h5: truncated or not an h5 file \(KeyError: .*Do this\."):
        read_h5(path, 10, "Do this.")
