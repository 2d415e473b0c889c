import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders import ENCODERS
from smdsb_jax.layers.heads import PointwiseHead
from tests.random_variables import random_variables
from tests.tiers import cases

# Options that keep the tests fast, and the per-sample kernels of the training pass. An encoder that is not
# named here is tested as it comes, with none.
SMALL = {
    "dgcnn": {"k": 4, "layers": (8,), "embedding": 32},
    "dgcnn_gast": {"k": 4, "layers": (8, 8), "embedding": 32},
    "dgcnn_segmentation": {"k": 4, "layers": (8, 8), "embedding": 32},
    "pointnet": {"feature_tnet": False, "layers": (8, 8, 8), "embedding": 32},
    # by the order of points its published ball query goes
    "node_pointnet": {
        "feature_tnet": False,
        "layers": (8, 8, 8),
        "embedding": 32,
        "nodes": 5,
        "members": 4,
        "order": "nearest",
    },
}
POOLED = ("max_over_points", "to_points", "to_columns")
KERNELS = {
    "dgcnn": ("knn_search", "max_over_neighbors", "add_to_winners", "sum_over_neighbors", *POOLED),
    "dgcnn_gast": ("knn_search", "max_over_neighbors", "add_to_winners", "sum_over_neighbors"),
    "dgcnn_segmentation": (
        "knn_search",
        "max_over_neighbors",
        "add_to_winners",
        "pool_of_edges",
        "back_to_terms",
        *POOLED,
    ),
    "pointnet": POOLED,
    "node_pointnet": (
        "farthest_points",
        "ball_query",
        "nearest_search",
        "max_over_neighbors",
        "add_to_winners",
        *POOLED,
    ),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)


def cloud(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def start(name, points):
    encoder = ENCODERS[name](**SMALL.get(name, {}))
    return encoder, random_variables(encoder, points)


def squared_embedding(encoder, variables, train):
    """Loss of (params, points): the embedding's squared length."""

    def loss(params, points):
        applied = {**variables, "params": params}
        features, updated = encoder.apply(applied, points, train=train, mutable=["batch_stats"])
        return jnp.sum(features.embedding**2), updated

    return loss


@every_encoder
def test_shapes_and_types(name):
    encoder, variables = start(name, jnp.asarray(cloud(2, 9, 3), jnp.float32))
    features, _ = jax.eval_shape(
        lambda p: encoder.apply(variables, p, train=True, mutable=["batch_stats"]),
        jax.ShapeDtypeStruct((5, 12, 3), jnp.float32),
    )
    assert features.embedding.shape[:-1] == (5,)
    assert features.layers and all(f.shape[:2] == (5, 12) for f in features.layers)
    if name in SMALL:
        assert features.embedding.shape[-1] == SMALL[name]["embedding"]
        assert [f.shape[2] for f in features.layers] == list(SMALL[name]["layers"])
    chex.assert_type(jax.tree.leaves(features), jnp.float32)
    logits, _ = jax.eval_shape(
        lambda f: encoder.head(7, 0.5).init_with_output(jax.random.key(0), f, train=False), features
    )
    assert logits.shape == (5, 7)


@pytest.mark.parametrize("name", cases(ENCODERS, "dgcnn", "pointnet"))
def test_inference_does_not_depend_on_the_order_of_points(name):
    points = cloud(2, 30, 3).astype(np.float32)
    encoder, variables = start(name, points)
    embed = jax.jit(lambda p: encoder.apply(variables, p, train=False).embedding)
    shuffled = points[:, np.random.default_rng(1).permutation(30)]
    np.testing.assert_allclose(embed(shuffled), embed(points), rtol=1e-5, atol=1e-5)
    assert np.abs(embed(points[:, ::2]) - embed(points)).max() > 1e-3


@pytest.mark.parametrize("name", cases(ENCODERS, "dgcnn_segmentation"))
def test_a_head_of_points_has_finite_logits_that_follow_the_points(name):
    with jax.enable_x64(True):  # far from the start, points' logits differ little beside the embedding's part
        points, order = cloud(2, 30, 3), np.random.default_rng(1).permutation(30)
        encoder, variables = start(name, points)
        head = PointwiseHead(7, use_bias=True)
        features = jax.eval_shape(lambda p: encoder.apply(variables, p, train=False), points)
        own = random_variables(head, features)
        logits = jax.jit(lambda p: head.apply(own, encoder.apply(variables, p, train=False), train=False))
        found, shuffled = logits(points), logits(points[:, order])
        assert found.shape == (2, 30, 7) and np.isfinite(found).all() and np.ptp(found[0, :, 0]) > 1e-5
        np.testing.assert_allclose(shuffled, found[:, order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", cases(ENCODERS, "dgcnn", "pointnet"))
def test_gradient_of_each_sample_equals_that_of_the_summed_loss(name):
    with jax.enable_x64(True):
        points = cloud(3, 12, 3)
        encoder, variables = start(name, points)
        loss = squared_embedding(encoder, variables, train=False)
        one = jax.grad(lambda p: loss(variables["params"], p[None])[0])
        together = jax.jit(jax.grad(lambda p: loss(variables["params"], p)[0]))(points)
        np.testing.assert_allclose(jax.jit(jax.vmap(one))(points), together, rtol=1e-9, atol=1e-9)
        assert np.all(np.any(together != 0, axis=(1, 2)))


@pytest.mark.parametrize("name", cases(ENCODERS, "dgcnn"))
def test_coincident_points_give_finite_gradients(name):
    points = np.full((2, 6, 3), 0.5, np.float32)
    encoder, variables = start(name, points)
    for train, argument in ((True, 0), (False, 1)):  # parameters in training, points for the saliency
        loss = jax.value_and_grad(squared_embedding(encoder, variables, train), argument, has_aux=True)
        chex.assert_tree_all_finite(jax.jit(loss)(variables["params"], points))


@pytest.mark.parametrize("name", cases(ENCODERS, "dgcnn"))
def test_accelerators_get_the_batched_kernels(name):
    points = jnp.asarray(cloud(2, 8, 3), jnp.float32)
    encoder, variables = start(name, points)
    loss = jax.grad(squared_embedding(encoder, variables, True), (0, 1), has_aux=True)
    traced = jax.jit(loss).trace(variables["params"], points)
    for platform in ("cuda", "tpu", "cpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)
        for kernel in KERNELS.get(name, ()):
            assert (f"{kernel}/batched" in text) == (platform != "cpu"), kernel


@pytest.mark.parametrize("name", cases(ENCODERS, "dgcnn"))
def test_a_divided_batch_gives_the_same_gradient_and_divides_the_work(name):
    """On 4 devices: statistics over the whole batch, no array of points gathered, loops over 2 samples."""
    mesh = jax.sharding.Mesh(jax.devices()[:4], ("data",))
    with jax.enable_x64(True):
        points = cloud(8, 11, 3)
        encoder, variables = start(name, points)
        loss = jax.grad(squared_embedding(encoder, variables, True), (0, 1), has_aux=True)
        expected = jax.jit(loss)(variables["params"], points)
        with jax.set_mesh(mesh):
            divided = jax.device_put(points, jax.sharding.NamedSharding(mesh, jax.P("data")))
            compiled = jax.jit(loss).lower(variables["params"], divided).compile()
            found = compiled(variables["params"], divided)
        chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), rtol=1e-9, atol=1e-9)
    text = compiled.as_text()
    assert "all-reduce(" in text
    assert "all-gather" not in text
    assert 'known_trip_count":{"n":"8"}' not in text
    assert ('known_trip_count":{"n":"2"}' in text) == bool(KERNELS.get(name))
