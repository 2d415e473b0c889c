import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders import ENCODERS
from smdsb_jax.layers.basic import BatchNorm, Dropout
from smdsb_jax.network import Network, encode, init_network, per_sample_mean, predict, put, run, run_own
from smdsb_jax.tasks.classification import classification

BATCH, POINTS, CLASSES = 4, 16, 3


@pytest.fixture(scope="module")
def made():
    encoder = ENCODERS["pointnet"](input_tnet=False, feature_tnet=False, layers=(8, 8), embedding=16)
    network = Network(encoder, encoder.head(CLASSES, 0.5), classification())
    shape = jax.ShapeDtypeStruct((BATCH, POINTS, 3), jnp.float32)
    return network, init_network(network, jax.random.key(0), shape)


@pytest.fixture
def points():
    return jax.random.uniform(jax.random.key(1), (BATCH, POINTS, 3), minval=-1.0)


def test_a_fresh_network_has_both_parts_in_both_collections(made, points):
    network, variables = made
    assert {kind: set(parts) for kind, parts in variables.items()} == {
        "params": {"encoder", "head"},
        "batch_stats": {"encoder", "head"},
    }
    eager = network.encoder.init(jax.random.split(jax.random.key(0))[0], points, train=False)
    chex.assert_trees_all_close(eager, {k: v["encoder"] for k, v in variables.items()})
    norm = variables["batch_stats"]["encoder"]["conv1"]["norm"]
    np.testing.assert_array_equal(norm["mean"], 0.0)
    np.testing.assert_array_equal(norm["var"], 1.0)


def test_training_changes_the_batch_statistics_of_its_part_alone_and_nothing_in_place(made, points):
    network, variables = made
    before = jax.tree.map(np.array, variables)
    features, new = encode(network, variables, points, jax.random.key(2))
    assert features.embedding.shape == (BATCH, 16)
    chex.assert_trees_all_equal(variables, before)
    assert new["params"] is variables["params"]
    assert new["batch_stats"]["head"] is variables["batch_stats"]["head"]
    for name in ("conv1", "conv2", "agg"):
        old, norm = (v["batch_stats"]["encoder"][name]["norm"] for v in (variables, new))
        assert not np.allclose(old["mean"], norm["mean"]) and not np.allclose(old["var"], norm["var"])


def test_constant_statistics_give_the_values_of_training_and_gradients_that_do_not_mix_clouds(made, points):
    network, variables = made
    key = jax.random.key(2)

    def first(points, train):
        features, after = encode(network, variables, points, key, train=train)
        return features.embedding[0].sum(), (features, after)

    found, expected = (jax.grad(first, has_aux=True)(points, train) for train in ("constant", True))
    chex.assert_trees_all_close(found[1], expected[1], rtol=1e-6)  # features and new statistics
    assert np.abs(found[0][0]).max() > 0 and not np.asarray(found[0][1:]).any()
    assert np.abs(expected[0][1:]).max() > 1e-3
    # the gradient of a network whose running statistics are those of the batch, without the 1 / (n - 1)
    layer = BatchNorm(3)
    x = jax.random.normal(key, (5, 3))
    norm = jax.tree.map(jnp.asarray, layer.init(key, x, train=True))
    of_batch = {"mean": jnp.mean(x, 0), "var": jnp.var(x, 0)}
    apart = norm | {"batch_stats": of_batch}
    weight = jnp.arange(15.0).reshape(5, 3)
    variables = {kind: {"encoder": tree} for kind, tree in norm.items()}
    own = jax.grad(lambda x: jnp.sum(weight * run(layer, variables, "encoder", x, train="constant")[0]))(x)
    other = jax.grad(lambda x: jnp.sum(weight * layer.apply(apart, x, train=False)))(x)
    np.testing.assert_allclose(own, other, rtol=1e-4)


def test_one_of_several_heads_of_a_pretext_task_runs_on_its_own_variables():
    layer, x = BatchNorm(3), jnp.arange(12.0).reshape(4, 3)
    fresh = layer.init(jax.random.key(0), x, train=True)
    variables = {kind: {"pretext": {"a": tree, "b": tree}, "head": {}} for kind, tree in fresh.items()}
    found, after = run_own(layer, variables, "b", x, train=True)
    expected, stats = layer.apply(fresh, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(found, expected)
    chex.assert_trees_all_equal(after["batch_stats"]["pretext"]["b"], stats["batch_stats"])
    after["batch_stats"]["pretext"]["b"] = fresh["batch_stats"]
    chex.assert_trees_all_equal(after, variables)
    chex.assert_trees_all_equal(run_own(layer, variables, "b", x, train=False)[1], variables)


def test_inference_changes_nothing_and_does_not_see_the_other_clouds(made, points):
    network, variables = made
    logits, features, after = predict(network, variables, points)
    assert after is variables and logits.shape == (BATCH, CLASSES)
    alone, _, _ = predict(network, variables, points[:1])
    np.testing.assert_allclose(alone, logits[:1], rtol=1e-5, atol=1e-6)
    by_hand = network.head.apply(
        {kind: parts["head"] for kind, parts in variables.items()}, features, train=False
    )
    np.testing.assert_array_equal(by_hand, logits)


def test_training_classifies_by_the_batch_updates_both_parts_and_draws_from_the_key(made, points):
    network, variables = made
    first, _, new = predict(network, variables, points, jax.random.key(3), train=True)
    again, _, _ = predict(network, variables, points, jax.random.key(3), train=True)
    other, _, _ = predict(network, variables, points, jax.random.key(4), train=True)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)  # dropout
    for part in ("encoder", "head"):
        moved = jax.tree.map(
            lambda a, b: float(jnp.abs(a - b).max()), variables["batch_stats"][part], new["batch_stats"][part]
        )
        assert min(jax.tree.leaves(moved)) > 0
    assert new["params"] is variables["params"]


def test_a_samples_loss_is_the_mean_over_its_points():
    values = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(per_sample_mean(values), [1, 4])
    assert per_sample_mean(values[:, 0]) is not None and per_sample_mean(values[:, 0]).shape == (2,)


class Norm(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return BatchNorm(x.shape[-1], name="norm")(x, train=train)


def test_each_pass_normalizes_by_its_own_batch_and_updates_the_statistics_in_turn():
    # published check: constants 0, then 10: running mean 1.0, variance 0.81
    variables = {"params": {}, "batch_stats": {}}
    own = Norm().init(jax.random.key(0), jnp.zeros((4, 2)), train=False)
    variables = {kind: {"encoder": own[kind], "other": own[kind]} for kind in ("params", "batch_stats")}
    for value in (0.0, 10.0):
        out, variables = run(Norm(), variables, "encoder", jnp.full((4, 2), value), train=True)
        np.testing.assert_array_equal(out, 0.0)  # of one batch of both, ±1
    statistics = variables["batch_stats"]["encoder"]["norm"]
    np.testing.assert_allclose(statistics["mean"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(statistics["var"], 0.81, rtol=1e-6)
    chex.assert_trees_all_equal(variables["batch_stats"]["other"], own["batch_stats"])


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return Dropout(0.5)(x, train=train)


def test_a_module_without_variables_runs_and_dropout_needs_a_key():
    variables = {"params": {"encoder": {}}, "batch_stats": {"encoder": {}}}
    out, after = run(Dropped(), variables, "new", jnp.ones((2, 64)), train=True, key=jax.random.key(0))
    assert set(np.unique(out)) == {0.0, 2.0}
    assert after["params"] is variables["params"]
    out, after = run(Dropped(), variables, "new", jnp.ones((2, 64)), train=False)
    assert (out == 1).all() and after is variables
    with pytest.raises(Exception, match="dropout"):
        run(Dropped(), variables, "new", jnp.ones((2, 64)), train=True)


def test_put_replaces_what_is_given_and_copies_the_rest_by_reference():
    variables = {"params": {"encoder": 1, "head": 2}, "batch_stats": {"encoder": 3}}
    new = put(variables, "encoder", {"batch_stats": 4})
    assert new == {"params": {"encoder": 1, "head": 2}, "batch_stats": {"encoder": 4}}
    assert variables["batch_stats"] == {"encoder": 3} and new["params"] is variables["params"]
    assert put(variables, "pretext", {"params": 5, "batch_stats": 6})["params"]["pretext"] == 5
