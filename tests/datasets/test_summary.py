import numpy as np
import pytest

from smdsb_jax.datasets import embedded
from smdsb_jax.datasets.domain import Domain, Origin, Split
from smdsb_jax.datasets.summary import describe, up_axis, warnings_of

CLASSES = ("mug", "bowl")


def made(train=(0, 0, 1), val=(0, 1), test=(0,), *, seed=0, **origin):
    """Random clouds of 8 points under these labels."""
    rng = np.random.default_rng(seed)
    splits = [
        Split(rng.normal(size=(len(label), 8, 3)).astype(np.float32), np.array(label, np.int32))
        for label in (train, val, test)
    ]
    n = sum(len(split.label) for split in splits)
    given = {
        "count": np.full(n, 8),
        "extent": np.tile([1000.0, 2.0, 0.5], (n, 1)).astype(np.float32),
    } | origin
    return Domain("lab", CLASSES, *splits, Origin(**given))


def test_counts_points_extent_and_skipped_files():
    target = made((-1, -1, -1), (), (0, 1), count=np.array([5, 70_000, 9, 10, 11]), extent=None)
    told = describe(
        {"cad (source)": made(skipped={".jpg": 2, ".db": 1}), "scan (target)": target}
    ).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in told[:6]]
    assert cells[0] == ["clouds", "cad (source) train", "val", "test", "scan (target) train", "val", "test"]
    assert cells[2:] == [
        ["mug", "2", "1", "1", "0", "0", "1"],
        ["bowl", "1", "1", "0", "0", "0", "1"],
        ["unlabelled", "0", "0", "0", "3", "0", "0"],
        ["all of 2 classes", "3", "2", "1", "3", "0", "2"],
    ]
    box = "extent 1e+03 x 2 x 0.5 in the files' unit (median)"
    assert told[6].startswith(f"cad (source): 8 points a cloud; {box}; ")
    assert told[6].endswith("; 3 files passed over: 1 .db, 2 .jpg.")
    assert told[7].startswith("scan (target): 5 to 70,000 (median 10) points a cloud; extent ")
    assert " in radii (median)" in told[7] and len(told) == 8


def test_a_validation_split_that_misses_a_class_is_warned_of():
    assert warnings_of(made(val=(0, 0))) == ["no validation clouds of bowl: its scores say nothing of them."]
    assert warnings_of(made(val=())) == []  # there is no such accuracy
    assert warnings_of(made()) == []


def test_clouds_in_two_splits_are_warned_of():
    domain = made(name=[f"{k}.ply" for k in range(6)])
    domain.test.points[0] = domain.train.points[2]
    assert warnings_of(domain) == ["1 cloud of test in train too (first: 2.ply = 5.ply)."]
    domain.val.points[:] = domain.train.points[:2]
    assert warnings_of(domain._replace(origin=None)) == [
        "2 clouds of val in train too (first: cloud 0 of train = cloud 0 of val).",
        "1 cloud of test in train too (first: cloud 2 of train = cloud 0 of test).",
    ]
    domain.train.points[1] = domain.train.points[0]  # within a split: nothing is leaked
    assert len(warnings_of(domain)) == 2


@pytest.mark.parametrize("name", embedded.DOMAINS)
def test_the_up_axis_of_furniture_is_found_however_it_lies(name):
    points = embedded.load("", name, points=1).train.points
    assert up_axis(points) == "z"
    assert up_axis(points[..., [0, 2, 1]]) == "y" and up_axis(-points[..., [2, 1, 0]]) == "x"


def test_balls_have_no_up_axis_and_nothing_fails_without_an_extent():
    ball = np.random.default_rng(0).normal(size=(50, 256, 3)).astype(np.float32)
    assert up_axis(ball) == ""
    assert up_axis(ball[:0]) == "" and up_axis(np.zeros((3, 8, 3), np.float32)) == ""


def test_another_up_axis_is_warned_of():
    domain = embedded.load("", "catalog", points=1)
    turned = domain._replace(train=domain.train._replace(points=domain.train.points[..., [0, 2, 1]]))
    (line,) = warnings_of(turned)
    assert line.startswith("y seems to be up, but clouds are taken with z up. ") and "y_up=" in line
    assert warnings_of(domain) == []


def test_many_classes_have_no_row_each():
    classes = tuple(f"c{k}" for k in range(60))
    domain = made(train=tuple(range(60)))._replace(classes=classes)
    assert [line.split()[1] for line in describe({"lab": domain}).splitlines()[:3]] == [
        "clouds",
        "-" * len("all of 60 classes"),
        "all",
    ]


def labelled_points(train, val, test):
    """Clouds of 4 points with these labels of points."""
    rng = np.random.default_rng(0)
    splits = [
        Split(rng.normal(size=(len(label), 4, 3)).astype(np.float32), np.array(label, np.int32))
        for label in (train, val, test)
    ]
    return Domain("lab", ("head", "hand", "foot"), *splits)


def test_labels_of_points_are_told_as_shares():
    domain = labelled_points([[0, 0, 0, 2], [0, 1, 1, 2]], [[0, 1, 2, 2]], [[1, 1, 1, 1]] * 3)
    target = labelled_points([[-1] * 4] * 2, [[-1] * 4], [[2, 2, 0, 0]])
    told = describe({"a": domain, "b": target}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in told[:7]]
    assert cells[0] == ["points", "a train", "val", "test", "b train", "val", "test"]
    assert cells[2:] == [
        ["head", "50.0%", "25.0%", "0", "0", "0", "50.0%"],
        ["hand", "25.0%", "25.0%", "100.0%", "0", "0", "0"],
        ["foot", "25.0%", "50.0%", "0", "0", "0", "50.0%"],
        ["unlabelled", "0", "0", "0", "100.0%", "100.0%", "0"],
        ["clouds", "2", "1", "3", "2", "1", "1"],
    ]
    assert told[7].startswith("a: 4 points a cloud; ") and len(told) == 9


def test_parts_that_training_or_validation_lacks_are_warned_of():
    assert warnings_of(labelled_points([[0, 0, 2, 2]], [[0, 0, 0, 0]], [[0, 1, 2, 2]])) == [
        "no training points of hand: they cannot be learned from it.",
        "no validation points of foot: its scores say nothing of them.",
    ]
    assert warnings_of(labelled_points([[0, 1, 2, 2]], [[2, 1, 0, 0]], [[0, 0, 0, 0]])) == []
    assert warnings_of(labelled_points([[-1] * 4], [[-1] * 4], [[0, 1, 2, 2]])) == []  # nobody knows
