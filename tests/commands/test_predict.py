"""Clouds classified from the command line."""

import base64
import json
import os
import re

import h5py
import numpy as np
import pandas as pd
import pytest
from plyfile import PlyData

import smdsb_jax
from smdsb_jax.datasets import embedded
from tests.processes import run


@pytest.fixture
def folder(tmp_path):
    """Six clouds of the scans, one with capital letters in its suffix, and what is none."""
    folder = tmp_path / "scans \u00e9"
    folder.mkdir()
    for i, cloud in enumerate(embedded.load("", "scan", points=32).test.points[:6]):
        with (folder / f"{i}.{'NPY' if i == 3 else 'npy'}").open("wb") as file:
            np.save(file, 3 * cloud + 1)
    for name in ("notes.md", "more.md", "picture.jpg"):
        (folder / name).touch()
    return folder


def test_a_folder_and_a_file_become_a_table_a_csv_and_pictures(tiny_run, folder):
    done = run("predict.py", "--workdir", tiny_run, folder, folder / "0.npy", "--pictures=drawn", cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "stage 2, step 6:" in done.stdout and "7 clouds: " in done.stdout
    assert "Skipped: 2 .md, 1 .jpg." in done.stdout
    assert (
        "Written: predictions.csv\nWritten: drawn/index.html\nWritten: 7 pictures in drawn\n" in done.stdout
    )
    table = pd.read_csv(folder / "predictions.csv")
    model = smdsb_jax.load(tiny_run)
    clouds = embedded.load("", "scan", points=32).test.points[[0, 1, 2, 3, 4, 5, 0]]
    expected = smdsb_jax.predict(model, clouds)
    columns = [f"probability of {name}" for name in model.classes]
    np.testing.assert_allclose(table[columns], expected, atol=1e-4)
    assert table["class"].tolist() == [model.classes[k] for k in expected.argmax(axis=1)]
    np.testing.assert_allclose(table.entropy, -(expected * np.log(expected)).sum(axis=1), atol=1e-3)
    assert table.file[3].endswith("3.NPY") and table.file[6] == table.file[0]
    drawn = sorted(path.name for path in (folder / "drawn").iterdir())
    assert drawn == [*(f"000{i}_{i % 6}.png" for i in range(7)), "index.html"]
    assert all((folder / "drawn" / name).stat().st_size > 5000 for name in drawn)
    page = data_of(folder / "drawn" / "index.html")
    assert [page["folder"] + name for name in page["names"]] == table.file.tolist()
    taken = smdsb_jax.samples(model, clouds, expected.argmax(axis=1))
    np.testing.assert_allclose(coordinates(page["clouds"][4]), taken.points[4], atol=1e-3)
    share = np.clip(taken.saliency[4] / taken.saliency[4].max(), 0, 1)
    np.testing.assert_allclose(numbers(page["saliency"][4], "u1") / 255, share, atol=0.01)


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def coordinates(cloud):
    unit, steps = cloud
    return unit * numbers(steps, "<i2").reshape(-1, 3)


@pytest.fixture
def clouds():
    return embedded.load("", "scan", points=32).test.points[:6]


@pytest.fixture
def tree(tmp_path, clouds):
    """Class folders, a file of several clouds, odd names, one file that is damaged and one that is hidden."""
    folder = tmp_path / "own" / "Stühle 椅子"
    for name in ("a", "b c", ".hidden"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "a" / "$x$ <b>.npy", 3 * clouds[0] + 1)
    with h5py.File(folder / "a" / "scan.h5", "w") as file:
        file["data"] = clouds[1:4]
    (folder / "b c" / "bad.npy").write_bytes(b"\x93NUMPY")
    with (folder / "b c" / os.fsdecode(b"\xe9\x1b[31m.npy")).open("wb") as file:
        np.save(file, clouds[4])
    np.save(folder / ".hidden" / "five.npy", clouds[5])
    return folder


def test_folders_are_searched_and_one_damaged_file_does_not_stop_the_others(tiny_run, tree, clouds):
    home = tree.parent
    (home / "run").symlink_to(tiny_run)
    (tree / "table of all.csv").write_text("of an earlier call")
    flags = ("--workdir=~/run", f"--out=~/{tree.name}/table of all.csv", f"--pictures=~/{tree.name}/gemalt é")
    done = run("predict.py", *flags, f"~/{tree.name}", cwd=home, HOME=str(home))
    assert done.returncode == 1, done.stderr[-2000:]
    assert "1 of 4 files cannot be read:\n" in done.stderr and done.stderr.count("\n") == 2
    assert "bad.npy: " in done.stderr and "bad.npy" not in done.stdout
    table = pd.read_csv(tree / "table of all.csv")
    assert [name.removeprefix(f"{tree}/") for name in table.file] == [
        "a/$x$ <b>.npy", "a/scan.h5[0]", "a/scan.h5[1]", "a/scan.h5[2]", "b c/\\xe9\x1b[31m.npy",
    ]  # fmt: skip
    expected = smdsb_jax.predict(smdsb_jax.load(tiny_run), clouds[:5])
    np.testing.assert_allclose(table.filter(like="probability"), expected, atol=1e-4)
    drawn = sorted(path.name for path in (tree / "gemalt é").iterdir())
    stems = ("0000_$x$ _b_", "0001_scan_0", "0002_scan_1", "0003_scan_2", "0004__xe9_[31m")
    assert drawn == [*(f"{stem}.png" for stem in stems), "index.html"]
    assert f"| {tree}/a/scan.h5[2] " in done.stdout and "/\\xe9?[31m.npy " in done.stdout
    assert "5 clouds: " in done.stdout


def test_clouds_with_y_up_are_turned(tiny_run, clouds, tmp_path):
    lying = np.stack([clouds[..., 0], clouds[..., 2], -clouds[..., 1]], axis=-1)
    np.save(tmp_path / "lying.npy", lying)
    done = run("predict.py", "--workdir", tiny_run, "lying.npy", "--y_up", "--pictures=.", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "predictions.csv")
    model = smdsb_jax.load(tiny_run)
    expected = smdsb_jax.predict(model, clouds)
    np.testing.assert_allclose(table.filter(like="probability"), expected, rtol=1e-3, atol=1e-4)
    shown = np.stack([coordinates(cloud) for cloud in data_of(tmp_path / "index.html")["clouds"]])
    np.testing.assert_allclose(shown, smdsb_jax.samples(model, clouds).points, atol=1e-3)


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "No clouds to classify: give files (.npy"),
        (["picture.jpg"], "the suffix .jpg is none of .npy"),
        (["7.npy"], "7.npy: no such file"),
        (["7.npy", "8.npy"], "(1 more files cannot be read.)"),
        (["0.npy", "--out=."], "--out . is a folder. Give a file, for example predictions.csv"),
        (["0.npy", "--pictures=1.npy"], "--pictures 1.npy is a file. Give a folder."),
    ],
)
def test_mistakes_are_told_in_one_line(tiny_run, folder, words, said):
    done = run("predict.py", "--workdir", tiny_run, *words, cwd=folder)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr[-2000:]
    assert not (folder / "predictions.csv").exists()


def test_parts_are_told_of_every_point_in_files_of_their_own(segmented_run, tmp_path):
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 3)) + 4e5 for n in (100, 70)]
    for i, cloud in enumerate(clouds):
        np.save(tmp_path / f"{i}.npy", cloud)
    (tmp_path / "2.npy").write_text("no cloud")
    words = ("predict.py", "--workdir", segmented_run, tmp_path, "--pictures=drawn")
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1 and "1 of 3 files cannot be read" in done.stderr
    assert (
        "largest parts" in done.stdout and "Written: 2 labelled clouds in predictions_labelled" in done.stdout
    )
    model = smdsb_jax.load(segmented_run)
    expected = smdsb_jax.predict(model, clouds)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table.points.tolist() == [100, 70]
    for i, (cloud, probability) in enumerate(zip(clouds, expected, strict=True)):
        share = np.bincount(probability.argmax(axis=1), minlength=8) / len(cloud)
        np.testing.assert_allclose(
            table[[f"share of {name}" for name in model.classes]].loc[i], share, atol=1e-6
        )
        vertex = PlyData.read(str(tmp_path / "predictions_labelled" / f"000{i}_{i}.ply"))["vertex"]
        np.testing.assert_array_equal(np.stack([vertex[axis] for axis in "xyz"], axis=1), cloud)
        np.testing.assert_array_equal(vertex["label"], probability.argmax(axis=1))
    drawn = [tmp_path / "drawn" / name for name in ("0000_0.png", "0001_1.png")]
    assert sorted((tmp_path / "drawn").iterdir()) == drawn
    # the same clouds with y up: pictures and parts are the same, files keep their coordinates
    for i, (x, y, z) in enumerate(cloud.T for cloud in clouds):
        np.save(tmp_path / f"{i}.npy", np.stack([x, z, -y], axis=1))
    before = [path.read_bytes() for path in drawn]
    assert run(*words, "--y_up", cwd=tmp_path).returncode == 1
    assert [path.read_bytes() for path in drawn] == before
    vertex = PlyData.read(str(tmp_path / "predictions_labelled" / "0000_0.ply"))["vertex"]
    np.testing.assert_array_equal(vertex["y"], clouds[0][:, 2])
