import numpy as np
import pytest

from smdsb_jax.datasets.domain import (
    Ragged,
    Split,
    absent_classes,
    assemble,
    collect,
    labelled,
    normalize,
    normalize_once,
    split_validation,
    stack,
    to_count,
    train_or_val,
    with_classes,
    without_repeats,
    y_to_z_up,
)
from smdsb_jax.datasets.pointda_counts import published_counts

RNG = np.random.default_rng(0)


def clouds(*sizes):
    return [normalize(RNG.normal(size=(p, 3)).astype(np.float32)) for p in sizes]


def test_normalized_clouds_have_mean_0_and_radius_1():
    points = (RNG.gamma(2.0, size=(5, 700, 3)) * [3, 1, 0.2] + [100, -40, 7]).astype(np.float32)
    result = normalize(points)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.astype(np.float64).mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(result.astype(np.float64), axis=2).max(1), 1, atol=1e-6)
    # a similarity, cloud by cloud: ratios of distances stay
    before = np.linalg.norm(points[2, 0].astype(np.float64) - points[2, 1:9], axis=1)
    after = np.linalg.norm(result[2, 0] - result[2, 1:9], axis=1)
    np.testing.assert_allclose(after / after[0], before / before[0], rtol=1e-4)


def test_a_batch_is_normalized_cloud_by_cloud():
    points = RNG.normal(size=(3, 50, 3)).astype(np.float32)
    np.testing.assert_array_equal(normalize(points), np.stack([normalize(p) for p in points]))


@pytest.mark.parametrize("magnitude", [0, 1e-30, 0.1, 1.7, 1e6, 1e30])
@pytest.mark.parametrize("n", [1, 16, 1000, 1024])
def test_coincident_points_stay_at_the_origin(n, magnitude):
    points = np.tile(np.float32(magnitude) * np.array([[0.1, -1, 0.3]], np.float32), (n, 1))
    np.testing.assert_array_equal(normalize(points), 0)


@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_extreme_sizes_neither_overflow_nor_vanish(magnitude):
    points = (RNG.normal(size=(100, 3)) * magnitude).astype(np.float32)
    assert np.linalg.norm(normalize(points), axis=1).max() == pytest.approx(1, abs=1e-6)


def test_what_is_normalized_keeps_its_bits_and_all_else_is_normalized():
    raw = (RNG.gamma(2.0, size=(300, 3)) * [3, 1, 0.2] + [100, -40, 7]).astype(np.float32)
    cloud = normalize(raw)
    np.testing.assert_array_equal(normalize_once(raw), cloud)
    assert not np.array_equal(normalize(cloud), cloud)  # a second time rounds anew
    np.testing.assert_array_equal(normalize_once(cloud), cloud)
    np.testing.assert_array_equal(normalize_once(cloud.astype(np.float64)), cloud)
    for moved in (1.0001 * cloud, cloud + 1e-4, np.clip(cloud, -0.5, 0.5)):  # the last one in the unit ball
        np.testing.assert_array_equal(normalize_once(moved), normalize(moved))


def test_the_smallest_spread_that_float32_can_hold_is_kept():
    points = np.full((64, 3), 1000, np.float32)
    points[0, 0] = np.nextafter(np.float32(1000), np.float32(2000))
    assert np.linalg.norm(normalize(points), axis=1).max() == pytest.approx(1)


def test_y_to_z_up_is_the_published_map_a_rotation_of_order_4():
    np.testing.assert_array_equal(y_to_z_up(np.array([[1.0, 2, 3]])), [[1, -3, 2]])
    eye = np.eye(3)
    assert np.linalg.det(y_to_z_up(eye)) == pytest.approx(1)
    np.testing.assert_array_equal(y_to_z_up(y_to_z_up(y_to_z_up(y_to_z_up(eye)))), eye)
    assert not np.array_equal(y_to_z_up(y_to_z_up(eye)), eye)
    # the loaders' form: row vectors times R, theta = -90 degrees
    theta = -np.pi / 2
    r = np.array([[1, 0, 0], [0, np.cos(theta), -np.sin(theta)], [0, np.sin(theta), np.cos(theta)]])
    points = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(y_to_z_up(points), points @ r, atol=1e-12)


def test_to_count():
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    rows = lambda count: to_count(points, count)[:, 0].astype(int) // 3  # noqa: E731
    assert rows(10).tolist() == list(range(10))
    assert rows(5).tolist() == [0, 2, 4, 6, 8]
    assert rows(4).tolist() == [0, 2, 5, 7]
    assert rows(1).tolist() == [0]
    assert rows(23).tolist() == [*range(10), *range(10), 0, 1, 2]
    assert len(set(rows(7).tolist())) == 7


def test_stack_stores_clouds_of_one_size_whole():
    ragged = collect(clouds(20, 20), [0, 0], [0, 2], "here")
    np.testing.assert_array_equal(stack(ragged, 8).reshape(-1, 3), ragged.points)
    assert stack(ragged, 30).shape == (2, 30, 3)


@pytest.mark.parametrize(("points", "stored"), [(8, 40), (16, 40), (40, 40), (64, 64)])
def test_stack_brings_mixed_sizes_to_the_largest_or_the_points_asked(points, stored):
    parts = clouds(12, 40, 20)
    result = stack(collect(parts, [0, 0, 0], [0, 1, 2], "here"), points)
    assert result.shape == (3, stored, 3)
    for cloud, part in zip(result, parts, strict=True):
        np.testing.assert_array_equal(cloud, to_count(part, stored))
        np.testing.assert_array_equal(cloud[: len(part)], part)  # no point is lost, whatever the others have


def test_every_9th_and_10th_object_validates():
    assert np.flatnonzero(split_validation(25)).tolist() == [8, 9, 18, 19]
    assert [train_or_val(25).count(code) for code in range(3)] == [21, 4, 0]
    assert len(split_validation(0)) == 0


@pytest.mark.parametrize("domain", ["modelnet", "shapenet"])
def test_the_rule_gives_the_published_parts_of_each_class(domain):
    published = published_counts()
    row = lambda split: [n for (d, s, _), n in published.items() if (d, s) == (domain, split)]  # noqa: E731
    label = np.repeat(np.arange(10), row("train"))
    validates = split_validation(len(label))
    assert np.bincount(label[~validates]).tolist() == row("train_part")
    assert np.bincount(label[validates]).tolist() == row("val_part")


def test_collect_orders_by_split_and_keeps_the_listing_order_within():
    parts = clouds(2, 3, 4, 5, 6)
    ragged = collect(parts, [0, 1, 2, 3, 4], [2, 0, 1, 0, 2], "here")
    assert ragged.label.tolist() == [1, 3, 2, 0, 4]
    assert ragged.split.tolist() == [0, 0, 1, 2, 2]
    assert ragged.count.tolist() == [3, 5, 4, 2, 6]
    np.testing.assert_array_equal(ragged.points[:3], parts[1])


def test_collect_refuses_nothing():
    with pytest.raises(ValueError, match="my_folder holds no clouds"):
        collect([], [], [], "my_folder")


def ragged(label, split):
    n = len(label)
    points = np.zeros((n * 4, 3), np.float32)
    return Ragged(points, np.full(n, 4, np.int32), np.array(label, np.int32), np.array(split, np.uint8))


def test_assemble_splits():
    domain = assemble("d", ("a", "b"), ragged([0, 1, 0, 1, 1, 0], [0, 0, 0, 1, 2, 2]), 4)
    assert domain.name == "d" and domain.classes == ("a", "b")
    assert [part.label.tolist() for part in domain.splits] == [[0, 1, 0], [1], [1, 0]]
    assert [part.points.shape for part in domain.splits] == [(3, 4, 3), (1, 4, 3), (2, 4, 3)]
    assert all(p.label.dtype == np.int32 and p.points.dtype == np.float32 for p in domain.splits)
    none = assemble("d", (), ragged([-1, -1], [0, 0]), 4)  # nobody has labelled it, and nothing tests it
    assert none.train.label.tolist() == [-1, -1] and none.val.points.shape == none.test.points.shape == (
        0,
        4,
        3,
    )


def test_assemble_names_the_empty_class():
    with pytest.raises(ValueError, match=r"Domain 'd': no training objects of class lamp, sofa\."):
        assemble("d", ("bed", "lamp", "sofa"), ragged([0, 0, 1, 2], [0, 0, 1, 2]), 4)


def test_labels_of_another_domains_classes():
    domain = assemble("d", ("lamp", "sofa"), ragged([0, 1, -1, 1], [0, 0, 0, 2]), 4)
    found = with_classes(domain, ("bed", "lamp", "sofa"))
    assert found.classes == ("bed", "lamp", "sofa")
    assert found.train.label.tolist() == [1, 2, -1] and found.test.label.tolist() == [2]
    assert found.train.label.dtype == np.int32 and found.val.label.shape == (0,)
    words = r"'d' has classes that the source lacks: sofa \(it has bed, lamp\).*extra_classes=unlabelled"
    with pytest.raises(ValueError, match=words):
        with_classes(domain, ("bed", "lamp"))
    found = with_classes(domain, ("bed", "lamp"), "unlabelled")
    assert found.train.label.tolist() == [1, -1, -1] and found.test.label.tolist() == [-1]


def test_the_labelled_clouds_of_a_split():
    points = np.arange(4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
    found = labelled(Split(points, np.array([0, -1, 2, -1], np.int32)))
    assert found.label.tolist() == [0, 2]
    np.testing.assert_array_equal(found.points, points[[0, 2]])
    of_points = labelled(Split(points, np.array([[0, 1], [-1, -1], [0, -1], [1, 1]], np.int32)))
    assert of_points.label.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("count", [70, 71, 100, 140, 171, 300])
def test_what_fills_a_cloud_up_is_found_again(count):
    cloud = RNG.normal(size=(70, 3)).astype(np.float32)
    cloud[[5, 6]] = cloud[0]  # a point that occurs more than once
    np.testing.assert_array_equal(without_repeats(to_count(cloud, count)), cloud)


def test_repeated_points_within_a_cloud_are_no_filling():
    cloud = RNG.normal(size=(70, 3)).astype(np.float32)
    padded = np.concatenate([np.zeros((500, 3), np.float32), cloud])  # and it takes no time for each zero
    assert without_repeats(padded) is padded
    assert without_repeats(np.zeros((9, 3))).shape == (1, 3)


def test_labels_of_points_are_filled_up_as_the_points_are():
    np.testing.assert_array_equal(to_count(np.array([3, 1, 2]), 7), [3, 1, 2, 3, 1, 2, 3])
    np.testing.assert_array_equal(to_count(np.arange(8), 4), [0, 2, 4, 6])


def test_labels_of_points_follow_their_points_into_the_splits():
    sizes = (30, 50, 40)
    own = clouds(*sizes)
    label = [np.arange(size) % 3 for size in sizes]
    ragged = collect(own, label, [2, 0, 1], "here")
    domain = assemble("bodies", ("head", "hand", "foot", "tail"), ragged, 45)
    for split, number in zip(domain.splits, (1, 2, 0), strict=True):
        assert split.points.shape == (1, 50, 3) and split.label.shape == (1, 50)
        for point, found in zip(split.points[0], split.label[0], strict=True):
            row = np.flatnonzero((own[number] == point).all(axis=1))[0]
            assert found == label[number][row]
    assert absent_classes(domain) == ["tail"]  # of parts, no reason to refuse


def test_where_no_class_is_absent_none_is_said_to_be():
    label = np.array([0, 1, 1, 0], np.int32)
    split = Split(np.stack(clouds(8, 8, 8, 8)), label)
    domain = assemble("d", ("a", "b"), collect(list(split.points), label.tolist(), [0, 0, 1, 2], "here"), 8)
    assert absent_classes(domain) == []
    unlabelled = domain._replace(train=domain.train._replace(label=np.full(2, -1, np.int32)))
    assert absent_classes(unlabelled) == []


def test_clouds_that_no_memory_holds_are_refused_before_they_are_made():
    ragged = Ragged(np.zeros((6, 3), np.float32), np.array([2, 4]), np.zeros(2, int), np.zeros(2, int))
    with pytest.raises(ValueError, match="2 clouds of 1,099,511,627,776 points each take 24576 GiB"):
        stack(ragged, 2**40)


def test_a_label_beyond_the_classes_is_refused():
    ragged = Ragged(np.zeros((4, 3), np.float32), np.array([2, 2]), np.array([0, 2]), np.zeros(2, int))
    with pytest.raises(ValueError, match="Domain 'd': label 2 is none of its 2 classes"):
        assemble("d", ("a", "b"), ragged, 2)
