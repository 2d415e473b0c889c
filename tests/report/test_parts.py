import csv

import numpy as np
import pytest
from plyfile import PlyData

from smdsb_jax.datasets.read import read_cloud
from smdsb_jax.report.parts import Segmented, draw_parts, parts_table, write_parts_csv, write_ply
from smdsb_jax.report.pictures import part_colors

RNG = np.random.default_rng(0)
NAMES = ("head", "bras\ngauche é")


@pytest.fixture
def found():
    points = [RNG.normal(size=(n, 3)) + 4e5 for n in (4, 6)]  # coordinates of a map need more than float32
    probability = [np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [1, 0]]), np.tile([0.0, 1.0], (6, 1))]
    names = "a/scan.npy", "b/scan.npy"
    return [Segmented(names[i], NAMES, points[i], probability[i]) for i in (0, 1)]


def test_the_table_names_the_largest_parts(found):
    lines = parts_table(("head", "arm"), [cloud.shares for cloud in found]).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == [
        ["a/scan.npy", "4", "head 75 %, arm 25 %", "80.0"],
        ["b/scan.npy", "6", "arm 100 %", "100.0"],
    ]


def test_the_file_has_the_share_of_each_part(found, tmp_path):
    write_parts_csv(tmp_path / "p.csv", NAMES, [cloud.shares for cloud in found])
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "points", "share of head", f"share of {NAMES[1]}", "mean probability"]
    assert rows[1] == ["a/scan.npy", "4", "0.750000", "0.250000", "0.800000"]
    assert rows[2] == ["b/scan.npy", "6", "0.000000", "1.000000", "1.000000"]


def test_a_ply_file_has_a_label_and_a_color_for_every_point_as_it_was_given(found, tmp_path):
    path = tmp_path / "out" / "scan.ply"
    write_ply(path, found[0])
    data = PlyData.read(str(path))
    vertex = data["vertex"]
    np.testing.assert_array_equal(np.stack([vertex[axis] for axis in "xyz"], axis=1), found[0].points)
    assert vertex["label"].tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(vertex["probability"], [0.9, 0.6, 0.7, 1.0], rtol=1e-6)
    colors = np.stack([vertex[c] for c in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(colors, part_colors(2)([0, 1, 0, 0], bytes=True)[:, :3])
    assert data.comments == ["label 0 head", "label 1 bras gauche ?"]
    np.testing.assert_allclose(read_cloud(path), found[0].points, rtol=1e-6)


def test_a_cloud_is_drawn_in_the_colors_of_its_parts(found, tmp_path):
    draw_parts(tmp_path / "a.png", found[0])
    assert (tmp_path / "a.png").stat().st_size > 5000
