import numpy as np
import pytest

from smdsb_jax.datasets.bodies import makehuman, pose
from smdsb_jax.datasets.bodies.build import HABITS
from smdsb_jax.datasets.bodies.skeleton import COUNT, INDEX, motions, moved_by
from tests.datasets.bodies.person import write_person

REST = np.tile(np.eye(3), (COUNT, 1, 1))
STILL = pose.Habits(
    bend=(0.0, 0.0),
    lean=0.0,
    twist=0.0,
    head=0.0,
    raised=(90.0, 90.0),
    swing=(0.0, 0.0),
    collar=0.0,
    elbow=(90.0, 90.0),
    thigh=(90.0, 90.0),
    spread=(0.0, 0.0),
    knee=(90.0, 90.0),
    ankle=0.0,
)


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    figure = makehuman.read_figure(write_person(tmp_path_factory.mktemp("anny")))
    return makehuman.shape(figure, makehuman.Traits(1.0, 0.5, 0.5, 0.5, 0.5, 0.5, np.array([0.0, 0, 1])))


def direction(body, turns, start, end):
    """Of the limb from one segment's joint to another's."""
    moved = motions(body, turns)
    a, b = (moved_by(moved[INDEX[segment]], body.joint(segment)) for segment in (start, end))
    return (b - a) / np.linalg.norm(b - a)


def test_turns_and_aims_by_hand():
    np.testing.assert_allclose(pose.turn(np.array([0, 0, 3.0]), 90.0) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    rng = np.random.default_rng(0)
    for start, end in rng.normal(size=(5, 2, 3)):
        found = pose.aim(start, end)
        np.testing.assert_allclose(
            found @ start / np.linalg.norm(start), end / np.linalg.norm(end), atol=1e-12
        )
        np.testing.assert_allclose(found @ np.cross(start, end), np.cross(start, end), atol=1e-12)  # the axis


def test_limbs_go_where_they_are_aimed(body):
    lifted = 0
    for seed in range(6):
        turns = pose.random_pose(body, STILL, np.random.default_rng(seed))
        for side, out in (("left", 1), ("right", -1)):
            arm = direction(body, turns, f"upper_arm_{side}", f"forearm_{side}")
            np.testing.assert_allclose(arm, [out, 0, 0], atol=1e-9)
            fore = direction(body, turns, f"forearm_{side}", f"hand_{side}")
            np.testing.assert_allclose(fore @ arm, 0, atol=1e-9)
            thigh = direction(body, turns, f"thigh_{side}", f"shin_{side}")
            if thigh[1] < -0.9:  # not a standing leg: the thigh level to the front, the shin down from it
                lifted += 1
                np.testing.assert_allclose(thigh, [0, -1, 0], atol=1e-9)
                np.testing.assert_allclose(
                    direction(body, turns, f"shin_{side}", f"foot_{side}"), [0, 0, -1], atol=0.03
                )
            else:
                assert thigh[2] < -0.9
    assert 2 < lifted < 10


def test_a_bent_back_leans_to_the_front_and_arms_follow(body):
    bent = STILL._replace(bend=(40.0, 40.0))
    turns = pose.random_pose(body, bent, np.random.default_rng(0))
    upper = direction(body, turns, "chest", "neck")
    np.testing.assert_allclose(upper, [0, -np.sin(np.deg2rad(40)), np.cos(np.deg2rad(40))], atol=1e-9)
    raised = pose.random_pose(body, bent._replace(raised=(0.0, 0.0)), np.random.default_rng(0))
    arm = direction(body, raised, "upper_arm_left", "forearm_left")
    np.testing.assert_allclose(arm, -upper, atol=1e-9)  # hangs along the chest


def test_collar_bones_go_up_with_raised_arms(body):
    habits = STILL._replace(raised=(165.0, 165.0), collar=20.0)
    turns = pose.random_pose(body, habits, np.random.default_rng(0))
    for side, out in (("left", 1), ("right", -1)):
        shoulder = direction(body, turns, f"collar_{side}", f"upper_arm_{side}")
        np.testing.assert_allclose(
            shoulder, [out * np.cos(np.deg2rad(20)), 0, np.sin(np.deg2rad(20))], atol=1e-9
        )


def test_poses_are_rotations_that_repeat_with_the_seed(body):
    habits = HABITS["makehuman"]
    first, again, other = (pose.random_pose(body, habits, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    np.testing.assert_allclose(first @ first.transpose(0, 2, 1), REST, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(first), 1)


def test_capsules_apart_and_in_each_other():
    start, end = np.zeros(3), np.array([0, 0, 1.0])
    aside, above = np.array([0.5, 0, 0]), np.array([0, 0, 3.0])
    assert pose.distance((start, end, 0.1), (start + aside, end + aside, 0.2)) == pytest.approx(0.2)
    assert pose.distance((start, end, 0.1), (start + above, end + above, 0.2)) == pytest.approx(1.7)
    assert pose.distance((start, end, 0.3), (start + aside, end + aside, 0.3)) < 0


def test_a_forearm_through_the_chest_is_refused_and_another_pose_is_drawn(body, monkeypatch):
    assert not pose.collides(body, REST)
    inside = REST.copy()
    inside[INDEX["upper_arm_left"]] = pose.aim(
        body.joint("forearm_left") - body.joint("upper_arm_left"), -pose.X
    )
    assert pose.collides(body, inside)
    draws = iter([inside, inside, REST, inside])
    monkeypatch.setattr(pose, "random_pose", lambda *_: next(draws))
    assert pose.free_pose(body, STILL, np.random.default_rng(0)) is REST
    monkeypatch.setattr(pose, "random_pose", lambda *_: inside)
    monkeypatch.setattr(pose, "TRIES", 3)
    assert pose.free_pose(body, STILL, np.random.default_rng(0)) is inside


def test_most_random_poses_become_free(body):
    rng = np.random.default_rng(0)
    free = [not pose.collides(body, pose.free_pose(body, HABITS["scan"], rng)) for _ in range(3)]
    assert all(free)
