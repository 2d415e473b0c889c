import importlib
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smdsb_jax.geometry.curvature import normals_and_curvature
from smdsb_jax.geometry.regions import cell_of
from smdsb_jax.network import Passes
from smdsb_jax.pretext import View, prepare
from smdsb_jax.pretext.gast import gast, mix_turned, share_of_curvature, turn_about_x, turn_about_y
from smdsb_jax.state import Features

BATCH, POINTS, WIDTH = 4, 200, 8
EMBEDDING: Any = jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32)
SHAPES = Features(EMBEDDING, ())


def clouds(*, batch=BATCH, seed=0):
    points = np.random.default_rng(seed).normal(size=(batch, POINTS, 3)) * [0.25, 0.4, 0.5]
    return jnp.asarray(np.clip(points, -1, 1), jnp.float32)


def view_of(points):
    return View(points, points, None, "target", jnp.zeros(()))


def variables_of(task, seed=0):
    own, state = task.init(jax.random.key(seed), SHAPES, {})
    assert state == () and own["batch_stats"] == {}
    encoder = {"weight": jax.random.normal(jax.random.key(seed + 1), (3, WIDTH))}
    return {
        "params": {"pretext": own["params"], "encoder": encoder},
        "batch_stats": {"pretext": {}, "encoder": {"passes": jnp.zeros(())}},
    }


def recorder():
    """An encoder of max-pooled projections that counts its passes and keeps what it saw."""
    seen = []

    def encode(variables, points, key, *, train=True):
        assert train
        seen.append((points, key, variables["batch_stats"]["encoder"]["passes"]))
        embedding = jnp.max(jnp.tanh(points @ variables["params"]["encoder"]["weight"]), axis=1)
        statistics = {"encoder": {"passes": variables["batch_stats"]["encoder"]["passes"] + 1}}
        return Features(embedding, ()), variables | {"batch_stats": variables["batch_stats"] | statistics}

    return encode, seen


def embedding_of(variables, points):
    return np.tanh(np.asarray(points) @ np.asarray(variables["params"]["encoder"]["weight"])).max(axis=1)


def run_task(task, points, *, variables=None, seed=3):
    encode, seen = recorder()
    variables = variables_of(task) if variables is None else variables
    key = jax.random.key(seed)
    prepared, key = prepare(task, view_of(points), key)
    found = task.loss(Passes(encode, None), variables, (), prepared, key)
    assert set(task.names) == set(found.per_sample) == set(found.solved)
    return found.per_sample, found.variables, seen, variables


def zeroed(variables):
    pretext = jax.tree.map(jnp.zeros_like, variables["params"]["pretext"])
    return variables | {"params": variables["params"] | {"pretext": pretext}}


@pytest.mark.parametrize(
    "turn, quarters, expected",
    [
        (turn_about_x, 1, (1, 3, -2)),
        (turn_about_x, 2, (1, -2, -3)),
        (turn_about_y, 1, (-3, 2, 1)),
        (turn_about_y, 2, (-1, 2, -3)),
    ],
)
def test_quarter_turns_of_the_worked_example(turn, quarters, expected):
    assert turn(jnp.array([[1.0, 2.0, 3.0]]), jnp.array(quarters))[0].tolist() == list(expected)


@pytest.mark.parametrize("quarters", range(4))
def test_turns_are_rows_times_the_rotation_matrix(quarters):
    points, angle = clouds(batch=1)[0], quarters * np.pi / 2
    c, s = np.cos(angle), np.sin(angle)
    about_x, about_y = [[1, 0, 0], [0, c, -s], [0, s, c]], [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    for turn, matrix in ((turn_about_x, about_x), (turn_about_y, about_y)):
        np.testing.assert_allclose(
            turn(points, jnp.array(quarters)), np.asarray(points) @ np.array(matrix), atol=1e-6
        )


def farthest(points, count, start):
    chosen = [start]
    while len(chosen) < count:
        chosen.append(int(cdist(points, points[chosen], "sqeuclidean").min(1).argmax()))
    return points[chosen]


def test_a_mixed_cloud_is_a_turned_sampling_of_one_cloud_and_the_turned_rest_of_another():
    points = clouds()
    mixed = jax.jit(mix_turned)(jax.random.key(1), points)
    count = round(float(mixed.share[0]) * POINTS)
    assert 0 < count < POINTS
    sources = [set(map(tuple, np.asarray(p).tolist())) for p in points]
    partners = []
    for i in range(BATCH):
        first = turn_about_x(mixed.points[i, :count], -mixed.about_x[i] % 4)  # turned back, exactly
        other = np.asarray(turn_about_y(mixed.points[i, count:], -mixed.about_y[i] % 4))
        start = np.asarray(points[i]).tolist().index(first[0].tolist())
        np.testing.assert_array_equal(first, farthest(np.asarray(points[i]), count, start))
        (partner,) = [j for j in range(BATCH) if sources[j] >= set(map(tuple, other.tolist()))]
        assert len(np.unique(other, axis=0)) == POINTS - count
        partners.append(partner)
    assert sorted(partners) == list(range(BATCH)) and all(p != i for i, p in enumerate(partners))


def test_the_two_turns_are_independent_and_all_occur():
    points = jnp.ones((4, 2, 3))
    mixed = jax.jit(jax.vmap(lambda k: mix_turned(k, points)))(jax.random.split(jax.random.key(0), 500))
    table = np.histogram2d(np.ravel(mixed.about_x), np.ravel(mixed.about_y), bins=4)[0] / 2000
    np.testing.assert_allclose(table, 1 / 16, atol=0.025)  # 4.6 standard deviations
    assert (mixed.share == mixed.share[:, :1]).all()  # one per batch
    share = np.sort(mixed.share[:, 0])
    np.testing.assert_allclose(share, (np.arange(500) + 0.5) / 500, atol=0.09)  # Kolmogorov-Smirnov, 1e-3


def test_a_batch_of_one_is_mixed_with_itself():
    points = clouds(batch=1)
    losses, *_ = run_task(gast(), points)
    chex.assert_tree_all_finite(losses)


def test_uniform_logits_give_the_logarithms_of_the_numbers_of_classes():
    task = gast()
    losses, *_ = run_task(task, clouds(), variables=zeroed(variables_of(task)))
    np.testing.assert_allclose(losses["rotation"], np.full(BATCH, 0.2 * np.log(4)), rtol=1e-6)
    np.testing.assert_allclose(losses["distortion"], np.full(BATCH, 0.5 * np.log(27)), rtol=1e-6)


def test_distortion_first_then_rotation_each_in_a_pass_of_its_own():
    losses, after, seen, _ = run_task(gast(), clouds())
    assert list(losses) == ["distortion", "rotation"]
    assert [int(passes) for *_, passes in seen] == [0, 1]
    assert after["batch_stats"]["encoder"]["passes"] == 2
    assert (jax.random.key_data(seen[0][1]) != jax.random.key_data(seen[1][1])).any()
    kept = np.all(np.asarray(seen[0][0] == clouds()), axis=-1).mean(axis=1)
    assert (kept > 0.5).all() and (kept < 1).all()  # the first pass saw the distorted clouds


def distorted_cells(points, deformed):
    """By numpy: which points moved, and the one cell that they were in."""
    moved = np.any(np.asarray(points != deformed), axis=-1)
    cells = np.stack([np.asarray(cell_of(p)) for p in points])
    assert all(len(set(c[m])) == 1 for c, m in zip(cells, moved, strict=True))
    assert all(
        (c == c[m][0]).sum() == m.sum() for c, m in zip(cells, moved, strict=True)
    )  # all of its points
    return moved, np.array([c[m][0] for c, m in zip(cells, moved, strict=True)])


def cross_entropies(head, embedding, label):
    logits = embedding @ np.asarray(head["kernel"]) + np.asarray(head["bias"])
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(label)), label]


@pytest.mark.parametrize("seed", [3, 4])
def test_the_label_of_a_distortion_is_the_cell(seed):
    points = clouds()
    losses, _, seen, variables = run_task(gast(rotation_weight=0.0, min_share=0.1), points, seed=seed)
    moved, cell = distorted_cells(points, seen[0][0])
    assert moved.sum(axis=1).min() >= 20
    head = variables["params"]["pretext"]["cell"]
    expected = cross_entropies(head, embedding_of(variables, seen[0][0]), cell)
    np.testing.assert_allclose(losses["distortion"], 0.5 * expected, rtol=1e-5)


def test_a_distorted_cell_has_the_released_variance_about_its_center():
    _, _, seen, _ = run_task(gast(rotation_weight=0.0), 0.1 * clouds())  # all in the middle cell
    noise = np.asarray(seen[0][0]).ravel()
    np.testing.assert_allclose(noise.mean(), 0, atol=4 * np.sqrt(0.001 / noise.size))
    np.testing.assert_allclose(noise.var(), 0.001, rtol=0.12)  # 4 standard deviations


def test_the_options_of_the_distortion_reach_it():
    points = clouds()
    _, _, seen, _ = run_task(gast(min_share=0.0, noise_variance=0.0), points)
    moved, _ = distorted_cells(points, seen[0][0])
    assert moved.sum(axis=1).min() < 20
    for cloud, m in zip(np.asarray(seen[0][0]), moved, strict=True):
        assert len(np.unique(cloud[m], axis=0)) == 1  # all at the center


def test_the_rotation_loss_equals_its_formula():
    points = clouds()
    losses, _, seen, variables = run_task(gast(distortion_weight=0.0, rotation_weight=0.7), points)
    (mixed_points, *_), heads = seen[0], variables["params"]["pretext"]
    mix_key = jax.random.split(jax.random.split(jax.random.key(3))[0])[1]
    mixed = mix_turned(mix_key, points)
    np.testing.assert_array_equal(mixed.points, mixed_points)
    share, embedding = float(mixed.share[0]), embedding_of(variables, mixed_points)
    expected = share * cross_entropies(heads["about_x"], embedding, np.asarray(mixed.about_x))
    expected += (1 - share) * cross_entropies(heads["about_y"], embedding, np.asarray(mixed.about_y))
    np.testing.assert_allclose(losses["rotation"], 0.7 * expected, rtol=1e-5)


@pytest.mark.parametrize("share, idle, trained", [(1.0, "about_y", "about_x"), (0.0, "about_x", "about_y")])
def test_a_part_of_no_points_trains_no_head(monkeypatch, share, idle, trained):
    task, points = gast(distortion_weight=0.0), clouds()
    monkeypatch.setattr(
        importlib.import_module("smdsb_jax.pretext.gast"),  # the package's name `gast` is the function
        "mix_turned",
        lambda key, points: mix_turned(key, points)._replace(share=jnp.full(len(points), share)),
    )
    variables = variables_of(task)

    def total(heads):
        own = variables | {"params": variables["params"] | {"pretext": heads}}
        return jnp.sum(run_task(task, points, variables=own)[0]["rotation"])

    gradient = jax.grad(total)(variables["params"]["pretext"])
    assert all((g == 0).all() for g in jax.tree.leaves(gradient[idle]))
    assert all((g != 0).any() for g in jax.tree.leaves(gradient[trained]))


@pytest.mark.parametrize("off", ["rotation", "distortion"])
def test_a_weight_of_zero_leaves_the_pass_and_its_heads_out(off):
    weights: dict[str, Any] = {f"{off}_weight": 0.0}
    task = gast(**weights)
    losses, _, seen, variables = run_task(task, clouds())
    heads = {"rotation": {"cell"}, "distortion": {"about_x", "about_y"}}[off]
    assert len(seen) == 1 and set(variables["params"]["pretext"]) == heads
    assert set(losses) == {"rotation", "distortion"} - {off}


def test_heads_have_a_width_per_label():
    own, _ = gast().init(jax.random.key(0), SHAPES, {})
    assert {n: h["kernel"].shape for n, h in own["params"].items()} == {
        "cell": (WIDTH, 27),
        "about_x": (WIDTH, 4),
        "about_y": (WIDTH, 4),
    }
    assert (own["params"]["about_x"]["kernel"] != own["params"]["about_y"]["kernel"]).any()


def test_the_share_of_uniform_curvature_is_the_share_of_points():
    mask = jnp.arange(50) < 7
    for value in (0.0, 0.05, 1 / 3):
        kappa = share_of_curvature(jnp.full(50, value), mask)
        np.testing.assert_allclose(kappa, 7 / 50, rtol=1e-6)
    kappa = share_of_curvature(jnp.array([0, 1 / 12, 1 / 6, 1 / 3]), jnp.array([True, True, False, False]))
    np.testing.assert_allclose(kappa, (1 + 0.5) / (1 + 0.5 + 0 + 1), rtol=1e-6)  # c = -1, -1/2, 0, 1
    assert share_of_curvature(jnp.full(3, 1 / 6), jnp.ones(3, bool)) < 1 + 1e-6  # all 0: no NaN


def test_the_shares_of_all_cells_add_up_to_one():
    points = clouds()[0]
    curvature, cells = normals_and_curvature(points)[1], cell_of(points)
    shares = [share_of_curvature(curvature, cells == cell) for cell in range(27)]
    np.testing.assert_allclose(sum(map(float, shares)), 1, rtol=1e-5)
    assert max(shares) > 0.03


def test_a_curvature_factor_multiplies_each_loss_by_its_cells_share():
    points = clouds()
    plain, _, seen, _ = run_task(gast(rotation_weight=0.0), points)
    weighted, *_ = run_task(gast(rotation_weight=0.0, curvature_factor=100.0), points)
    moved, _ = distorted_cells(points, seen[0][0])
    curvature = np.stack([np.asarray(normals_and_curvature(p)[1]) for p in points])
    weight = np.abs(6 * curvature - 1)
    kappa = (weight * moved).sum(axis=1) / weight.sum(axis=1)
    np.testing.assert_allclose(weighted["distortion"], plain["distortion"] * 100 * kappa, rtol=1e-5)
    assert np.ptp(kappa) > 1e-3


@pytest.mark.parametrize("factor", [0.0, 100.0])
def test_where_no_cell_qualifies_the_loss_and_its_gradient_are_zero(factor):
    task = gast(rotation_weight=0.0, min_share=1.0, curvature_factor=factor)
    points = clouds().at[1].multiply(0.1)  # all of it in the middle cell
    variables = variables_of(task)

    def total(params):
        losses, _, seen, _ = run_task(task, points, variables=variables | {"params": params})
        return jnp.sum(losses["distortion"][jnp.array([0, 2, 3])]), (losses["distortion"], seen[0][0])

    gradient, (loss, seen) = jax.grad(total, has_aux=True)(variables["params"])
    assert loss[1] > 0 and (loss[jnp.array([0, 2, 3])] == 0).all()
    chex.assert_trees_all_equal(seen[0], points[0])
    assert all((g == 0).all() for g in jax.tree.leaves(gradient))


def test_gradients_are_finite_and_reach_encoder_and_heads():
    task = gast(curvature_factor=100.0)
    points = clouds().at[0].set(0.5).at[1, :, 1:].set(0.1)  # duplicates; a line
    variables = variables_of(task)

    @jax.jit
    def gradients(params, points):
        def total(params, points):
            losses, *_ = run_task(task, points, variables=variables | {"params": params})
            return sum(map(jnp.sum, losses.values()))

        return jax.grad(total, (0, 1))(params, points)

    of_params, of_points = gradients(variables["params"], points)
    chex.assert_tree_all_finite((of_params, of_points))
    assert all((g != 0).any() for g in jax.tree.leaves(of_params))


def test_each_loss_is_its_own_samples():
    task, points = gast(rotation_weight=0.0), clouds()
    whole, *_ = run_task(task, points)
    other, *_ = run_task(task, points.at[2].multiply(0.5))
    rest = np.array([0, 1, 3])
    np.testing.assert_array_equal(whole["distortion"][rest], other["distortion"][rest])
    assert whole["distortion"][2] != other["distortion"][2]


def test_fewer_rows_than_the_batch_are_served():
    task = gast(curvature_factor=100.0)
    losses, *_ = run_task(task, clouds()[:3])
    assert all(loss.shape == (3,) for loss in losses.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation_weight": -0.1},
        {"distortion_weight": float("inf")},
        {"min_share": -0.1},
        {"noise_variance": 1.5},
        {"curvature_factor": -1.0},
    ],
    ids=str,
)
def test_impossible_options_are_refused(wrong: dict[str, Any]):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"config\.pretext\.{name} = {value}: between"):
        gast(**wrong)


def test_a_task_of_nothing_is_refused():
    with pytest.raises(ValueError, match="rotation_weight = config.pretext.distortion_weight = 0.*none"):
        gast(rotation_weight=0.0, distortion_weight=0.0)


def test_clouds_of_too_few_points_for_a_curvature_are_refused():
    with pytest.raises(ValueError, match="raise data.points"):
        run_task(gast(curvature_factor=1.0), clouds()[:, :16])
