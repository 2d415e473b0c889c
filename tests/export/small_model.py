"""Models whose weights were drawn: encoders with all their parts, narrow, on few points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax import choose, default_config, resolve
from smdsb_jax.build import build_network
from smdsb_jax.export.network import logits_of
from smdsb_jax.inference import Model
from smdsb_jax.network import init_network

CLASSES = ("bed", "chair", "sofa")
NARROW = {
    "pointnet": {"layers": (8, 12, 12, 16), "embedding": 64},
    "dgcnn": {"layers": (8, 12), "embedding": 64, "k": 8},
    "dgcnn_gast": {"layers": (8, 12), "embedding": 64, "k": 8},
    "dgcnn_segmentation": {"layers": (8, 12, 16), "embedding": 64, "k": 8},
    "node_pointnet": {"layers": (8, 12, 12), "embedding": 64},
}


def small_config(encoder, points=600):
    config = choose(default_config(), "encoder", encoder)
    if encoder == "dgcnn_segmentation":
        config = choose(config, "task", "segmentation")
    config.encoder.update(NARROW[encoder])
    config.data.points = points
    return resolve(config)


@functools.cache
def small_model(encoder, points=600):
    config = small_config(encoder, points)
    network = build_network(config, len(CLASSES))
    cloud = jax.ShapeDtypeStruct((2, points, 3), jnp.float32)
    shapes = jax.eval_shape(lambda: init_network(network, jax.random.key(0), cloud))
    return Model(config, CLASSES, network, drawn(shapes), 2, 40)


def drawn(shapes, seed=0):
    """Kernels that keep what tells points apart, norms of both signs, statistics that do something."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            return rng.normal(scale=(2 / leaf.shape[0]) ** 0.5, size=leaf.shape).astype(np.float32)
        low, high = {"bias": (-0.2, 0.2), "mean": (-0.2, 0.2), "var": (0.5, 2), "scale": (-1.5, 1.5)}[name]
        return rng.uniform(low, high, size=leaf.shape).astype(np.float32)

    return jax.device_put(jax.tree_util.tree_map_with_path(draw, shapes))


@functools.cache
def expected_logits(encoder):
    """Of the clouds; they are told apart."""
    expected = np.asarray(jax.jit(logits_of(small_model(encoder)))(clouds()))
    assert np.ptp(expected, axis=0).max() > 0.1
    return expected


def assert_same_logits(found, expected):
    """Within 1e-4, but for a quarter of the clouds: rounding may choose others of equally near neighbors."""
    assert found.shape == expected.shape
    axes = tuple(range(1, expected.ndim))
    deviation = np.abs(np.asarray(found) - np.asarray(expected)).max(axis=axes)
    assert np.mean(deviation < 1e-4) >= 0.75 and deviation.max() < 0.3, deviation


@functools.cache
def clouds(count=8, points=600):
    rng = np.random.default_rng(1)
    shape = rng.uniform(0.1, 2, size=(count, 1, 3))  # boxes
    return (shape * rng.uniform(-1, 1, size=(count, points, 3))).astype(np.float32)
