import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.encoders.dgcnn import DGCNN
from tests.random_variables import random_variables

CLOUDS = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
POINTS = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, inputs):
    return jax.eval_shape(functools.partial(module.init_with_output, train=False), jax.random.key(0), inputs)


def test_numbers_of_parameters_are_the_published_ones():
    features, variables = shapes(DGCNN(), CLOUDS)
    sizes = {name: size(part) for name, part in variables["params"].items()}
    edges = {"edge1": 512, "edge2": 8_320, "edge3": 16_640, "edge4": 66_048}
    assert sizes == {"tnet": 801_545, **edges, "agg": 526_336}
    assert features.embedding.shape == (2, 1024)
    assert [f.shape[-1] for f in features.layers] == [64, 64, 128, 256]
    _, head = shapes(DGCNN().head(10, 0.5), features)
    assert size(head["params"]) == 660_234
    assert sum(sizes.values()) + 660_234 == 2_079_635


def test_without_the_t_net():
    _, variables = shapes(DGCNN(input_tnet=False), CLOUDS)
    assert size(variables["params"]) == 617_856


def test_a_narrow_network_is_narrow_throughout():
    features, variables = shapes(DGCNN(layers=(32, 32, 64, 64), embedding=256), CLOUDS)
    assert features.embedding.shape == (2, 256)
    assert variables["params"]["tnet"]["conv3"]["dense"]["kernel"].shape == (32, 256)
    _, head = shapes(DGCNN(embedding=256).head(7, 0.0), features)
    assert head["params"]["fc1"]["dense"]["kernel"].shape == (256, 128)


def test_k_above_the_number_of_points_is_refused_by_field():
    with pytest.raises(ValueError, match=r"encoder.k = 33 .* data.points = 32 "):
        shapes(DGCNN(k=33), CLOUDS)
    shapes(DGCNN(k=32), CLOUDS)


def with_matrix(variables, matrix):
    """The variables of a network whose T-Net returns `matrix` whatever it sees."""
    out = {"kernel": jnp.zeros((8, 9)), "bias": jnp.ravel(jnp.asarray(matrix) - jnp.eye(3))}
    params = variables["params"]
    return {**variables, "params": {**params, "tnet": {**params["tnet"], "out": out}}}


def test_the_matrix_multiplies_column_vectors():
    fields = {"k": 4, "layers": (8, 8), "embedding": 32}
    variables = random_variables(DGCNN(**fields), POINTS)
    embed = jax.jit(lambda v, p: DGCNN(**fields).apply(v, p, train=False).embedding)
    plain = jax.jit(lambda v, p: DGCNN(**fields, input_tnet=False).apply(v, p, train=False).embedding)

    identity = with_matrix(variables, np.eye(3))
    np.testing.assert_allclose(embed(identity, POINTS), plain(variables, POINTS), rtol=1e-5, atol=1e-6)

    shift = with_matrix(variables, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])  # (x, y, z) -> (y, 0, 0)
    moved = POINTS[:, :, [1, 1, 1]] * np.array([1, 0, 0], np.float32)[None, None, :]
    np.testing.assert_allclose(embed(shift, POINTS), plain(variables, moved), rtol=1e-5, atol=1e-6)
    assert np.abs(embed(variables, POINTS) - plain(variables, POINTS)).max() > 1e-3


@pytest.mark.parametrize("input_tnet", [False, True])
def test_inference_on_50_000_points_needs_little_memory(input_tnet):
    """Compiled only, and not run: it takes half a minute. The distances alone would be 9.3 GiB."""
    encoder = DGCNN(input_tnet=input_tnet)
    small, large = (jax.ShapeDtypeStruct((1, n, 3), jnp.float32) for n in (64, 50_000))
    variables = jax.eval_shape(lambda p: encoder.init(jax.random.key(0), p, train=False), small)
    embed = jax.jit(lambda v, p: encoder.apply(v, p, train=False).embedding)
    memory = embed.lower(variables, large).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2**29
