import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from smdsb_jax.encoders import DGCNN, DGCNNSegmentation
from smdsb_jax.network import Passes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.mlsp import Prepared, alignment, count_loss, mlsp, shares, soft_label

N = 28


def view(points):
    return View(points, points, None, "target", jnp.zeros(()))


def clouds(*shape, seed=0):
    return jax.random.uniform(jax.random.key(seed), (*shape, 3), minval=-0.9, maxval=0.9)


@pytest.fixture
def losses(monkeypatch):
    """Losses by (task, prepared, what the heads would have told), from one pass of the masked clouds."""

    def of_told(task, prepared, told):
        seen = []
        module = sys.modules["smdsb_jax.pretext.mlsp"]  # its function has the same name
        monkeypatch.setattr(module, "run", lambda heads, variables, *_, **__: (told, variables))

        def encode(variables, points, key, *, train):
            seen.append(points)
            return points, variables

        found = task.loss(Passes(encode, None), {}, (), prepared, jax.random.key(0))
        assert len(seen) == 1 and seen[0] is prepared.masked
        return found.per_sample

    return jax.jit(of_told, static_argnums=0)


def line():
    """A cloud of N points, one of them masked, with the normal (0, 0, 1) and the row 15 everywhere."""
    points = np.linspace(-0.5, 0.5, N, dtype=np.float32)[None, :, None] * np.float32([1, 0, 0])
    mask = np.arange(N)[None] == 0
    share = shares(jnp.where(mask, 27.0, 1.0), True)
    normal = np.tile(np.float32([0, 0, 1]), (1, N, 1))
    row = np.full((1, N), 15, np.int32)
    return jax.device_put(Prepared(points, points, mask, row, share, normal, share))


@pytest.mark.parametrize(
    ("row", "width", "bins"), [(6, 2, (3, 3)), (7, 2, (3, 4)), (30, 2, (15, 15)), (2, 5, (0, 1))]
)
def test_soft_labels(row, width, bins):
    expected = (np.eye(16)[bins[0]] + np.eye(16)[bins[1]]) / 2
    np.testing.assert_array_equal(soft_label(jnp.array(row), width, 16), expected)


def test_the_mean_of_a_soft_label_of_two_counts_is_the_row():
    rows = jnp.arange(31)
    np.testing.assert_array_equal(soft_label(rows, 2, 16) @ (2.0 * jnp.arange(16)), rows)


ROWS = [
    ({}, [2, 3, 3, 2]),
    ({"count_first": False}, [1, 2, 3, 2]),  # as released
    ({"count_width": 5, "count_shift": 2}, [0, 1, 1, 0]),
    ({"count_bins": 2}, [2, 2, 2, 2]),  # 3 is beyond
]
SEGMENTATION: dict[str, Any] = {  # what PointSegDA's release has instead of the defaults
    "position_weight": 0.02, "normal_weight": 0.02, "cardinality_weight": 0.02, "count_width": 5,
    "count_shift": 10, "normal_neighbors": 10, "masked_weight": 2.0, "position_bias": True,
}  # fmt: skip


def test_rows_of_the_segmentation_release():
    groups = [(3, 0), (10, 0), (12, 2), (20, 10), (100, 75)]  # coincident points, and their rows
    points = np.concatenate([np.full((1, n, 3), i, np.float32) for i, (n, _) in enumerate(groups)], axis=1)
    task = mlsp(**SEGMENTATION, count_radius=0.5)
    found = jax.jit(lambda key: task.prepare(view(jnp.asarray(points)), key).row[0])(jax.random.key(0))
    np.testing.assert_array_equal(found, np.concatenate([np.full(n, row) for n, row in groups]))
    for row, bins in ((0, (0, 0)), (2, (0, 1)), (10, (2, 2)), (75, (15, 15))):
        expected = (np.eye(16)[bins[0]] + np.eye(16)[bins[1]]) / 2
        np.testing.assert_array_equal(soft_label(jnp.array(row), 5, 16), expected)


def test_rows_are_counts_within_the_bins():
    points = jnp.zeros((1, 4, 3)).at[0, :, 0].set(jnp.array([0, 0.1, 0.2, 0.3]))
    tasks = [mlsp(count_radius=0.15, normal_neighbors=2, **given) for given, _ in ROWS]
    found = jax.jit(lambda key: [task.prepare(view(points), key).row[0] for task in tasks])(jax.random.key(0))
    assert [row.tolist() for row in found] == [expected for _, expected in ROWS]


@pytest.mark.parametrize(("row", "expected"), [(15, 2.772589), (6, 2.772589 + 0.05 * 9)])
def test_the_loss_of_a_count_of_which_nothing_is_known(row, expected):
    assert count_loss(jnp.zeros(16), jnp.array(row), 2) == pytest.approx(expected, abs=1e-6)


def test_a_bin_for_sure_costs_nothing_where_it_is_right():
    logits = 100.0 * jax.nn.one_hot(jnp.array([3, 3, 3]), 16)
    found = count_loss(logits, jnp.array([6, 7, 8]), 2)
    np.testing.assert_allclose(
        found, [0, 0.5 * -np.log(1e-10) + 0.05, -np.log(1e-10) + 0.1], rtol=1e-5, atol=1e-6
    )
    five = count_loss(jnp.zeros(16), jnp.array(0), 5) - count_loss(jnp.zeros(16), jnp.array(0), 2)
    assert five == pytest.approx(0.05 * (37.5 - 15))  # the expected rows


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((0, 0, 7), 1),
        ((0, 0, -7), 1),
        ((3, 0, 0), 0),
        ((2, 0, 2), 0.707107),
        ((0, 0, 1e-8), 1),
        ((0, 0, 0), 0),
    ],
    ids=str,
)
def test_the_alignment_knows_no_sign_and_no_length(told, expected):
    told, normal = jnp.array(told, jnp.float32), jnp.array([0.0, 0, 1])
    assert alignment(told, normal) == pytest.approx(expected, abs=1e-6)
    assert jnp.isfinite(jax.grad(alignment)(told, normal)).all()


def test_the_three_losses_of_one_pass(losses):
    task, prepared = mlsp(), line()
    aligned = np.where(prepared.mask[..., None], [0, 0, 5.0], [1.0, 0, 0])  # the masked point's alone
    told = {"position": prepared.points + np.float32([[[0.1, 0, 0]]]), "normal": np.float32(aligned)}
    told["cardinality"] = np.zeros((1, N, 16), np.float32)
    found = losses(task, prepared, told)
    assert found["position"] == pytest.approx(0.5 * 20 * 2 * 0.01)
    assert found["normal"] == pytest.approx(-0.5 * 27 / 54)
    assert found["cardinality"] == pytest.approx(0.138629, abs=1e-6)
    everywhere = losses(task, prepared, told | {"normal": -7 * prepared.normal})
    assert everywhere["normal"] == pytest.approx(-0.5)
    of_segmentation = prepared._replace(normal_share=shares(jnp.where(prepared.mask, 2.0, 1.0), True))
    assert 0.04 * losses(task, of_segmentation, told)["normal"] == pytest.approx(-0.02 * 2 / 29)


def test_without_a_masked_cell_positions_cost_nothing_and_all_points_count_the_same(losses):
    points, task = clouds(2, 40), mlsp(min_share=1.0)
    prepared = jax.jit(lambda key: task.prepare(view(points), key))(jax.random.key(0))
    assert not prepared.mask.any()
    np.testing.assert_array_equal(prepared.masked, points)
    np.testing.assert_allclose(prepared.row_share, 1 / 40, rtol=1e-6)
    told = {"position": 0 * points, "normal": prepared.normal, "cardinality": jnp.zeros((2, 40, 16))}
    found = losses(task, prepared, told)
    np.testing.assert_array_equal(found["position"], [0, 0])
    np.testing.assert_allclose(found["normal"], [-0.5, -0.5], rtol=1e-6)


def test_the_mean_over_clouds_is_the_ratio_of_the_batch():
    mask = jnp.arange(1024)[None, :] < jnp.array([40, 400])[:, None]
    weight, value = jnp.where(mask, 27.0, 1.0), clouds(2, 1024)[..., 0]
    pooled = np.mean(np.sum(shares(weight, True) * value, axis=1))
    assert pooled == pytest.approx(float(jnp.sum(weight * value) / jnp.sum(weight)), rel=1e-4)
    own = np.mean(np.sum(shares(weight, False) * value, axis=1))
    ratios = jnp.sum(weight * value, axis=1) / jnp.sum(weight, axis=1)
    assert own == pytest.approx(float(jnp.mean(ratios)), rel=1e-4) and abs(own - pooled) > 1e-3
    np.testing.assert_array_equal(shares(jnp.zeros((2, 3)), True), np.zeros((2, 3)))


def test_targets_are_the_clean_clouds_own():
    points = clouds(3, 300).at[2].set(0.4)
    prepare = jax.jit(lambda key: mlsp(min_share=10 / 300, count_radius=0.4).prepare(view(points), key))
    one, other = prepare(jax.random.key(1)), prepare(jax.random.key(2))
    assert not np.array_equal(one.masked, other.masked)
    for name in ("points", "row", "normal"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    count = cKDTree(points[0]).query_ball_point(points[0], 0.4, return_length=True)
    np.testing.assert_array_equal(one.row[0], np.clip(count, 0, 30))
    np.testing.assert_array_equal(one.masked[~one.mask], points[~one.mask])
    # coincident points have no normal, and weigh nothing in its mean; in that of the counts they do
    assert (one.normal[2] == 0).all() and (one.normal_share[2] == 0).all() and (one.row_share > 0).all()
    assert one.normal_share.sum() == pytest.approx(3, rel=1e-5) == one.row_share.sum()
    ratio = one.row_share[0][one.mask[0]].min() / one.row_share[0][~one.mask[0]].max()
    assert ratio == pytest.approx(27, rel=1e-5)


HEADS = [  # of which parameters: position, normal, cardinality
    (DGCNN(), mlsp(), (493_184, 493_184, 989_712)),
    (DGCNNSegmentation(), mlsp(position_bias=True), (411_907, 411_264, 825_872)),
]


@pytest.mark.parametrize(("encoder", "task", "counts"), HEADS, ids=["classification", "segmentation"])
def test_the_heads_have_the_published_size(encoder, task, counts):
    points = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
    init = functools.partial(encoder.init_with_output, train=False)
    features, _ = jax.eval_shape(init, jax.random.key(0), points)
    own, state = jax.eval_shape(lambda f: task.init(jax.random.key(0), f, {}), features)
    found = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in own["params"].items()}
    assert found == dict(zip(("position", "normal", "cardinality"), counts, strict=True)) and state == ()


@pytest.mark.parametrize("name", ["position", "normal", "cardinality"])
def test_a_weight_of_0_leaves_a_task_and_its_head_out(name):
    others = {f"{other}_weight": 0.0 for other in ("position", "normal", "cardinality") if other != name}
    task = mlsp(**others)
    assert task.names == (name,)
    with pytest.raises(ValueError, match="cardinality_weight = 0: raise one"):
        mlsp(**others, **{f"{name}_weight": 0.0})


@pytest.mark.parametrize(
    "wrong",
    [
        {"position_weight": -0.1},
        {"normal_weight": -1.0},
        {"cardinality_weight": float("inf")},
        {"count_radius": 0.0},
        {"count_bins": 1},
        {"count_width": 0},
        {"count_shift": -1},
        {"normal_neighbors": 1},
        {"masked_weight": -1.0},
        {"min_share": 1.5},
        {"dropout": 1.0},
    ],
    ids=str,
)
def test_impossible_options_are_refused(wrong: dict[str, Any]):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"config\.pretext\.{name} = {value}: between"):
        mlsp(**wrong)


def test_clouds_of_too_few_points_for_a_normal_are_refused():
    with pytest.raises(ValueError, match="neighbors = 20 of 16 points.*raise data.points"):
        jax.eval_shape(lambda key: mlsp().prepare(view(clouds(2, 16)), key), jax.random.key(0))
