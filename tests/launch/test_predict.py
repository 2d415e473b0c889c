"""Clouds classified from the command line."""

import numpy as np
import pandas as pd
import pytest

import smdsb_jax
from smdsb_jax.datasets import embedded
from tests.commands import run


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
    assert "Written: predictions.csv\nWritten: 7 pictures in drawn\n" in done.stdout
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
    assert drawn == [f"000{i}_{i % 6}.png" for i in range(7)]
    assert all((folder / "drawn" / name).stat().st_size > 5000 for name in drawn)


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "No clouds to classify: give files (.npy"),
        (["picture.jpg"], "the suffix .jpg is none of .npy"),
        (["7.npy"], "7.npy: no such file"),
    ],
)
def test_mistakes_are_told_in_one_line(tiny_run, folder, words, said):
    done = run("predict.py", "--workdir", tiny_run, *words, cwd=folder)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr[-2000:]
    assert not (folder / "predictions.csv").exists()
