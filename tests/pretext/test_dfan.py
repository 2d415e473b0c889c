import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from smdsb_jax.layers.nodes import pool_at_nodes
from smdsb_jax.pretext import View
from smdsb_jax.pretext.dfan import adaptation_ramp, dfan
from smdsb_jax.state import Pair
from tests.pretext.fake_network import fake_passes, fake_variables, features_of

BATCH, POINTS = 4, 12
KEY = jax.random.key(0)
VARIABLES = fake_variables()
ALL = Pair(*(jnp.ones(BATCH, bool),) * 2)
SOME = Pair(jnp.array([True, False, True, True]), jnp.array([True, True, False, False]))


def prepared(progress=1.0, seeds=(1, 2)):
    clouds = (jax.random.uniform(jax.random.key(s), (BATCH, POINTS, 3), minval=-1) for s in seeds)
    views = (View(p, p, None, "target", jnp.asarray(progress)) for p in clouds)
    return Pair(*(dfan().prepare(v, KEY) for v in views))


@functools.cache
def compiled(align):
    task = dfan(align=align, global_weight=2.0, nodes=5, members=3)
    assert task.loss is None and task.names == ("global", "local")

    def total(params, given, keep):
        found, _ = task.joint(fake_passes(), VARIABLES | {"params": params}, (), given, keep, KEY)
        return sum(found.values()), found

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def joint(align, given, keep=ALL):
    """Losses, and the gradient of their sum."""
    (_, found), gradient = compiled(align)(VARIABLES["params"], given, keep)
    return found, jax.tree.leaves(gradient)


pool = jax.jit(lambda x, points: pool_at_nodes((x,), points, 5, 3)[0])


def test_the_ramp():
    found = [float(adaptation_ramp(jnp.float32(t))) for t in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, [0, 0.98661430, 0.99990920], rtol=1e-6)


def plain_mmd(source, target):
    width = np.median(pdist(np.concatenate([source, target]), "sqeuclidean"))
    kernel = lambda x, y: np.mean(  # noqa: E731
        [np.exp(-cdist(x, y, "sqeuclidean") / (2 * b * width)).mean() for b in (0.25, 0.5, 1, 2, 4)]
    )
    return kernel(source, source) + kernel(target, target) - 2 * kernel(source, target)


def plain_coral(source, target):
    of_source, of_target = (np.cov(x.T, ddof=0) for x in (source, target))
    return np.square(of_source - of_target).sum() / (4 * source.shape[1] ** 2)


@pytest.mark.parametrize("keep", [ALL, SOME], ids=["all", "some"])
@pytest.mark.parametrize(("align", "plain"), [("mmd", plain_mmd), ("coral", plain_coral)])
def test_the_losses_are_distances_of_embeddings_and_of_all_layers_nodes_of_the_kept_clouds(
    align, plain, keep
):
    given = prepared()
    found, _ = joint(align, given, keep)
    features = [features_of(VARIABLES, clouds.points) for clouds in given]
    of = lambda arrays: [np.asarray(a)[np.asarray(m)] for a, m in zip(arrays, keep, strict=True)]  # noqa: E731
    ramp = 0.99990920
    expected = plain(*of([f.embedding for f in features]))
    np.testing.assert_allclose(found["global"], 2 * ramp * expected, rtol=1e-3)
    layers = []
    for i in range(2):
        pooled = of(pool(f.layers[i], c.points) for f, c in zip(features, given, strict=True))
        layers.append(plain(*(x.reshape(-1, x.shape[-1]) for x in pooled)))
    np.testing.assert_allclose(found["local"], ramp * np.mean(layers), rtol=1e-3)


def test_a_node_has_the_explicit_maximum_over_its_neighbors():
    (clouds, _), k = prepared(), 3
    x = features_of(VARIABLES, clouds.points).layers[0]
    found = np.asarray(pool(x, clouds.points))
    for values, points, of_nodes in zip(np.asarray(x), np.asarray(clouds.points), found, strict=True):
        every = values[np.argsort(cdist(points, points), axis=1)[:, :k]].max(axis=1)
        rows = [int(np.flatnonzero((every == node).all(axis=1))[0]) for node in of_nodes]
        assert len(set(rows)) == 5  # distinct seeds


@pytest.mark.parametrize("align", ["mmd", "coral"])
def test_identical_domains_have_no_loss_and_the_first_step_has_no_gradient(align):
    alike, _ = joint(align, prepared(seeds=(1, 1)))
    np.testing.assert_allclose([alike["global"], alike["local"]], 0, atol=1e-6)
    found, gradient = joint(align, prepared(progress=0.0))  # as without adaptation
    assert found == {"global": 0, "local": 0} and all((g == 0).all() for g in gradient)


@pytest.mark.parametrize("align", ["mmd", "coral"])
def test_degenerate_clouds_and_empty_masks_have_finite_losses_and_gradients(align):
    same = jax.tree.map(jnp.ones_like, prepared())
    none = Pair(jnp.zeros(BATCH, bool), jnp.ones(BATCH, bool))
    for given, keep in ((same, ALL), (prepared(), none)):
        found, gradient = joint(align, given, keep)
        np.testing.assert_allclose([found["global"], found["local"]], 0, atol=1e-6)
        assert all(np.isfinite(g).all() for g in gradient)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"align": "mean"}, r"config\.pretext\.align = 'mean': one of 'mmd', 'coral'"),
        ({"local_weight": -1.0}, r"config\.pretext\.local_weight = -1\.0: between 0"),
        ({"members": 0}, r"config\.pretext\.members = 0: give at least 1"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        dfan(**options)
