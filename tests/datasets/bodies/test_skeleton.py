import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smdsb_jax.datasets.bodies import makehuman, skeleton
from smdsb_jax.datasets.bodies.skeleton import COUNT, INDEX, PARTS, SEGMENTS
from tests.datasets.bodies.person import write_person

REST = np.tile(np.eye(3), (COUNT, 1, 1))


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    figure = makehuman.read_figure(write_person(tmp_path_factory.mktemp("anny")))
    return makehuman.shape(figure, makehuman.Traits(1.0, 0.5, 0.5, 0.5, 0.5, 0.5, np.array([0.0, 0, 1])))


def of(segment):
    """The vertices of a segment's box."""
    return slice(8 * INDEX[segment], 8 * INDEX[segment] + 8)


def test_parents_come_before_their_children_and_every_part_has_skin():
    assert COUNT == 19
    for name, segment in SEGMENTS.items():
        assert segment.parent is None or INDEX[segment.parent] < INDEX[name]
    assert {segment.part for segment in SEGMENTS.values()} == set(PARTS)


def test_triangles_have_the_part_that_their_corners_follow_most(body):
    part = skeleton.part_of_triangles(body).reshape(COUNT, 12)
    wanted = [PARTS.index(segment.part) for segment in SEGMENTS.values()]
    np.testing.assert_array_equal(part, np.repeat(wanted, 12).reshape(COUNT, 12))
    weights = np.zeros((3, COUNT))
    weights[:, INDEX["hand_left"]] = [1, 0.4, 0]
    weights[:, INDEX["spine"]], weights[:, INDEX["chest"]] = [0, 0.3, 0.5], [0, 0.3, 0.5]  # both are torso
    mixed = body._replace(vertices=body.vertices[:3], triangles=np.array([[0, 1, 2]]), weights=weights)
    assert [PARTS[i] for i in skeleton.part_of_triangles(mixed)] == ["torso"]


def test_without_turns_nothing_moves(body):
    np.testing.assert_allclose(skeleton.skin(body, REST), body.vertices, atol=1e-12)


def test_a_turned_segment_takes_its_children_along_about_its_joint(body):
    turns = REST.copy()
    quarter = Rotation.from_euler("x", 90, degrees=True)
    turns[INDEX["forearm_left"]] = quarter.as_matrix()
    posed = skeleton.skin(body, turns)
    elbow = np.array([0.45, 0, 1.25])
    for segment in ("forearm_left", "hand_left"):
        wanted = quarter.apply(body.vertices[of(segment)] - elbow) + elbow
        np.testing.assert_allclose(posed[of(segment)], wanted, atol=1e-12)
    for segment in set(SEGMENTS) - {"forearm_left", "hand_left"}:
        np.testing.assert_allclose(posed[of(segment)], body.vertices[of(segment)], atol=1e-12)


def test_turns_add_up_along_the_limb(body):
    turns = REST.copy()
    half = Rotation.from_euler("y", 45, degrees=True)
    turns[INDEX["thigh_right"]] = turns[INDEX["shin_right"]] = half.as_matrix()
    motion = skeleton.motions(body, turns)[INDEX["foot_right"]]
    hip, knee, ankle = (body.joint(f"{name}_right") for name in ("thigh", "shin", "foot"))
    moved_knee = hip + half.apply(knee - hip)
    wanted = moved_knee + (half * half).apply(ankle - knee)
    np.testing.assert_allclose(skeleton.moved_by(motion, ankle), wanted, atol=1e-12)


def test_skin_between_two_segments_is_blended(body):
    turns = REST.copy()
    turns[INDEX["head"]] = Rotation.from_euler("z", 180, degrees=True).as_matrix()
    weights = body.weights.copy()
    weights[of("head")] = 0
    weights[of("head"), INDEX["head"]], weights[of("head"), INDEX["neck"]] = 0.25, 0.75
    posed = skeleton.skin(body._replace(weights=weights), turns)[of("head")]
    np.testing.assert_allclose(posed, body.vertices[of("head")] * [0.5, 0.5, 1], atol=1e-12)
