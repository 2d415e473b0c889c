import numpy as np
import pytest

from smdsb_jax.datasets.domain import Split, assemble, collect, normalize, without_repeats
from smdsb_jax.given import (
    at_given_points,
    filled_up,
    given_clouds,
    mesh_points,
    of_equal_size,
    read_in_turns,
    stored_cloud,
    stored_labels,
    stored_split,
)

RNG = np.random.default_rng(0)


def raw(count):
    return RNG.gamma(2.0, size=(count, 3)) * [3, 1, 0.2] + [4e5, -40, 7]


def test_one_is_told_from_several(tmp_path):
    np.save(tmp_path / "one.npy", raw(9))
    np.save(tmp_path / "many.npy", np.stack([raw(9), raw(9)]))
    for clouds, count, is_one in (
        (raw(9), 1, True),
        (raw(9)[None], 1, False),
        ([raw(9), raw(5)], 2, False),
        (tmp_path / "one.npy", 1, True),
        (str(tmp_path / "many.npy"), 2, False),
        ([tmp_path / "one.npy"], 1, False),
        ([], 0, False),
    ):
        found, alone = given_clouds(clouds, 32)
        assert (len(found), alone) == (count, is_one)


def test_files_are_read_some_clouds_at_a_time(tmp_path):
    clouds = {
        "a": raw(9)[None],
        "b": raw(9)[None],
        "c": raw(40)[None],
        "e": np.stack([raw(9)] * 3),
        "f": raw(5),
    }
    for name, cloud in clouds.items():
        np.save(tmp_path / f"{name}.npy", cloud)
    (tmp_path / "d.npy").write_text("no cloud")
    files = [tmp_path / f"{name}.npy" for name in "abcdefd"]
    turns = list(read_in_turns(files, 8, clouds=3, all_points=50))
    assert [[name.removeprefix(f"{tmp_path}/") for name in turn.names] for turn in turns] == [
        ["a.npy", "b.npy", "c.npy"], ["e.npy[0]", "e.npy[1]", "e.npy[2]"], ["f.npy"],
    ]  # fmt: skip
    for turn, found in zip(turns, (["a", "b", "c"], ["e"], ["f"]), strict=True):
        given = [cloud for name in found for cloud in clouds[name].reshape(-1, *clouds[name].shape[-2:])]
        assert all(np.array_equal(one, other) for one, other in zip(turn.clouds, given, strict=True))
    assert [len(turn.bad) for turn in turns] == [0, 1, 1] and "d.npy" in turns[1].bad[0]
    large = [len(turn.clouds) for turn in read_in_turns(files, 8, clouds=100, all_points=58)]
    assert large == [3, 4]  # the third cloud makes 58 points
    assert [turn.bad for turn in read_in_turns(files[3:4], 8)] == [turns[1].bad]


def test_a_mesh_has_no_fewer_points_than_the_network_gets(tmp_path):
    (tmp_path / "m.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert (mesh_points(32), mesh_points(4096)) == (2048, 4096)
    for points in (32, 4096):
        assert len(given_clouds(tmp_path / "m.off", points)[0][0]) == mesh_points(points)
        assert len(given_clouds([tmp_path / "m.off"], points)[0][0]) == mesh_points(points)


def test_y_up_is_turned_to_z_up_before_all_else():
    cloud = raw(9)
    (found,), _ = given_clouds(cloud, 32, True)
    np.testing.assert_array_equal(found, np.stack([cloud[:, 0], -cloud[:, 2], cloud[:, 1]], axis=1))


def test_a_cloud_is_normalized_and_filled_up():
    assert [filled_up(n, 32) for n in (1, 32, 33, 64, 1000)] == [32, 32, 64, 64, 1024]
    cloud = raw(50)
    found = stored_cloud(cloud, 32)
    np.testing.assert_array_equal(found[:50], normalize(cloud))
    np.testing.assert_array_equal(found[50:], found[:14])
    np.testing.assert_array_equal(stored_cloud(found, 32), found)  # it keeps its bits, filled up as it is
    np.testing.assert_array_equal(stored_cloud(found[:50], 32), found)


def stored_by_a_data_set(*sizes):
    clouds = [normalize(raw(size)) for size in sizes]
    return assemble("own", ("a",), collect(clouds, [0] * len(sizes), [0] * len(sizes), ""), 32).train


def test_a_split_that_a_data_set_has_stored_keeps_its_bits():
    split = stored_by_a_data_set(50, 70, 32)
    found = stored_split(split, 32)
    np.testing.assert_array_equal(found.points, split.points)
    assert np.abs(normalize(split.points) - split.points).max() > 1e-3  # what fills up shifts the mean


def test_a_split_in_another_unit_becomes_the_one_that_is_stored():
    split = stored_by_a_data_set(50, 70, 32)
    moved = split._replace(points=250 * split.points.astype(np.float64) + [3, -2, 1])
    np.testing.assert_allclose(stored_split(moved, 32).points, split.points, atol=1e-6)


def test_clouds_of_data_that_are_not_normalized_stay_as_they_are():
    cloud = raw(40).astype(np.float32)
    stored = stored_cloud(cloud, 32, scales=False)
    np.testing.assert_array_equal(stored, cloud[np.arange(64) % 40])
    split = Split(cloud[None], np.zeros(1, np.int32))
    np.testing.assert_array_equal(stored_split(split, 32, scales=False).points, cloud[None])


def test_a_split_of_few_points_is_filled_up_with_its_labels():
    points = np.stack([raw(20), raw(20)])
    found = stored_split(Split(points, np.arange(40).reshape(2, 20)), 32)
    np.testing.assert_array_equal(found.points, [stored_cloud(cloud, 32) for cloud in points])
    np.testing.assert_array_equal(found.label, np.arange(40).reshape(2, 20)[:, np.arange(32) % 20])
    assert stored_split(Split(points, np.array([0, 1])), 32).label.tolist() == [0, 1]


@pytest.mark.parametrize(
    "points, words",
    [
        (np.zeros((0, 20, 3)), "The split holds no clouds"),
        (np.full((2, 9, 3), np.nan), "cloud 0: 9 of 9 points"),
    ],
)
def test_a_bad_split_is_told_in_one_line(points, words):
    with pytest.raises(ValueError, match=words) as told:
        stored_split(Split(points, np.zeros(len(points), int)), 32)
    assert "\n" not in str(told.value)


def test_labels_of_points_go_where_their_points_go():
    clouds = [raw(40), np.tile(raw(20), (3, 1))[:50]]
    stored = [stored_cloud(cloud, 32) for cloud in clouds]
    labels = [np.arange(40), np.tile(np.arange(20), 3)[:50]]
    found = stored_labels(labels, clouds, stored, 40)
    np.testing.assert_array_equal(found[0], np.arange(64) % 40)
    np.testing.assert_array_equal(found[1], np.arange(32) % 20)
    assert [each.tolist() for each in stored_labels([3, -1], clouds, stored, 4)] == [3, -1]


def test_what_there_is_of_stored_points_comes_back_to_the_given_ones():
    for cloud in (raw(40), np.tile(raw(20), (3, 1))[:50], raw(64)):
        stored = stored_cloud(cloud, 32)
        np.testing.assert_allclose(
            at_given_points(cloud, stored),
            normalize(without_repeats(cloud))[np.arange(len(cloud)) % len(without_repeats(cloud))],
        )


@pytest.mark.parametrize(
    "labels, words",
    [
        ([1], "2 clouds have 1 labels"),
        ([0, 4], "cloud 1: label 4 is no class. 0 to 3 are; -1"),
        ([-2, 0], "cloud 0: label -2 is no class"),
        ([0, [1, 2]], "cloud 1: 2 labels of 9 points"),
    ],
)
def test_wrong_labels_are_told_in_one_line(labels, words):
    clouds = [raw(9), raw(9)]
    with pytest.raises(ValueError, match=words) as told:
        stored_labels(labels, clouds, clouds, 4)
    assert "\n" not in str(told.value)


def test_clouds_of_a_size_come_together():
    clouds = [raw(3), raw(5), raw(3)]
    found = {points.shape[1]: (rows.tolist(), points) for rows, points in of_equal_size(clouds)}
    assert {size: rows for size, (rows, _) in found.items()} == {3: [0, 2], 5: [1]}
    np.testing.assert_array_equal(found[3][1], [clouds[0], clouds[2]])
    assert list(of_equal_size([])) == []
