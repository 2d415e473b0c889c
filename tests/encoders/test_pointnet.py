import functools

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.encoders.pointnet import PointNet
from tests.random_variables import random_variables

CLOUDS = jax.ShapeDtypeStruct((2, 32, 3), jnp.float32)
POINTS = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, inputs):
    return jax.eval_shape(functools.partial(module.init_with_output, train=False), jax.random.key(0), inputs)


def test_numbers_of_parameters_are_the_published_ones():
    features, variables = shapes(PointNet(), CLOUDS)
    sizes = {name: size(part) for name, part in variables["params"].items()}
    assert sizes.pop("tnet1") == 803_081
    assert sizes.pop("tnet2") == 1_857_344
    assert sum(sizes.values()) == 151_680
    assert [f.shape[-1] for f in features.layers] == [64, 64, 64, 128]
    _, head = shapes(PointNet().head(10, 0.5), features)
    assert size(head["params"]) == 659_722
    assert size(variables["params"]) + 659_722 == 3_471_827


def test_without_the_t_nets():
    _, variables = shapes(PointNet(input_tnet=False, feature_tnet=False), CLOUDS)
    assert size(variables["params"]) == 151_680


def with_matrix(variables, tnet, matrix):
    """The variables of a network whose T-Net returns `matrix` whatever it sees."""
    params, c = variables["params"], len(matrix)
    out = {"kernel": jnp.zeros((8, c * c)), "bias": jnp.ravel(jnp.asarray(matrix) - jnp.eye(c))}
    return {**variables, "params": {**params, tnet: {**params[tnet], "out": out}}}


def test_the_matrices_multiply_row_vectors():
    fields = {"layers": (8, 8, 8), "embedding": 32}
    variables = random_variables(PointNet(**fields), POINTS)
    identity = with_matrix(with_matrix(variables, "tnet1", np.eye(3)), "tnet2", np.eye(8))
    without = PointNet(**fields, input_tnet=False, feature_tnet=False)
    embed = jax.jit(lambda v, p: PointNet(**fields).apply(v, p, train=False).embedding)
    plain = jax.jit(lambda v, p: without.apply(v, p, train=False).embedding)
    np.testing.assert_allclose(embed(identity, POINTS), plain(variables, POINTS), rtol=1e-5, atol=1e-6)

    shift = with_matrix(identity, "tnet1", [[0, 1, 0], [0, 0, 0], [0, 0, 0]])  # (x, y, z) -> (0, x, 0)
    moved = POINTS[:, :, [0, 0, 0]] * np.array([0, 1, 0], np.float32)[None, None, :]
    np.testing.assert_allclose(embed(shift, POINTS), plain(variables, moved), rtol=1e-5, atol=1e-6)

    swap = np.eye(8)[[1, 2, 3, 4, 5, 6, 7, 0]]  # row vector @ swap moves entry i to i + 1
    rolled = jax.tree.map(lambda leaf: leaf, variables)
    kernel = variables["params"]["conv3"]["dense"]["kernel"]
    rolled["params"]["conv3"]["dense"]["kernel"] = jnp.roll(kernel, -1, axis=0)
    found = embed(with_matrix(identity, "tnet2", swap), POINTS)
    np.testing.assert_allclose(found, plain(rolled, POINTS), rtol=1e-5, atol=1e-6)
